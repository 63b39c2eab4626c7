select * from {{ ref('stg_page_view_events') }}
where {{ in_new_batches() }}
