select s.* from intermediate.int_platform_stats as s
