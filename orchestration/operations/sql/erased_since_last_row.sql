-- All-time figures may fall by the events that erasures removed: those with a batch after the last
-- row's batch and up to the new row's. The last row is found in the history by its figures, because
-- an exporter may have been killed before it recorded that it had finished. Where the history does
-- not have the row, no fall is explained.
select figure.name, coalesce(sum((e.removed ->> figure.fact)::bigint), 0)::bigint as erased
from (
    values
    ('questions_answered', 'intermediate.int_chat_events'),
    ('pdf_downloads', 'intermediate.int_pdf_download_events')
) as figure (name, fact)
inner join warehouse.erasures as e
    on
        e.batch_seq <= %(upto)s
        and e.batch_seq > (
            select x.batch_seq from warehouse.exports as x
            where
                x.target = %(target)s
                and x.state <> 'refused'
                and x.active_users = %(active_users)s
                and x.questions_answered = %(questions_answered)s
                and x.pdf_downloads = %(pdf_downloads)s
                and x.updated_at = %(updated_at)s
            order by x.export_id desc
            limit 1
        )
group by figure.name
