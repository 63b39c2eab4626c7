select * from {{ ref('stg_builder_action_events') }}
where {{ in_new_batches() }}
