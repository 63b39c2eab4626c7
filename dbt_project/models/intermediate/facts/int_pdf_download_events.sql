select * from {{ ref('stg_pdf_download_events') }}
where {{ in_new_batches() }}
