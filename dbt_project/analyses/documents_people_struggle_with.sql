-- Which documents are asked about often and rated badly, or answered with errors?
select
    usage.document_id,
    documents.title,
    documents.city,
    sum(usage.query_count) as chats,
    sum(usage.error_count) as errors,
    popularity.avg_rating,
    popularity.last_accessed_at
from {{ ref('document_usage') }} as usage
inner join {{ ref('document_popularity') }} as popularity
    on usage.document_id = popularity.document_id
inner join {{ ref('documents') }} as documents on usage.document_id = documents.document_id
group by
    usage.document_id,
    documents.title,
    documents.city,
    popularity.avg_rating,
    popularity.last_accessed_at
having sum(usage.query_count) >= {{ var('fewest_for_a_share') }}
order by popularity.avg_rating asc nulls last, errors desc
limit {{ parameter('rows') }}
