select first.batch_seq from warehouse.check_results as first
where
    first.check_name = %(first)s and (
        select count(*) from warehouse.check_results as r
        where
            r.check_name = any(%(checks)s)
            and r.checked_at = first.checked_at
            and r.passed
    ) = %(number)s
order by first.checked_at desc
limit 1
