-- Cuts the subject out of addresses in other people's events and in the facts made from these, with the
-- result that a rebuild would give. Returns the number of changed rows by table. The old and the new
-- version of each changed fact row go into pg_temp.erased_rows: models recompute the cells of both.
create or replace function warehouse.cut_mentions(sought text, of_client text) returns jsonb
language plpgsql as $$
declare
    changed jsonb := '{}';
    place record;
    condition text;
    n bigint;
begin
    execute format(
        'update staging.raw_events set '
        'actor = warehouse.cut_actor(warehouse.normalized_identifier($1), actor), '
        'context = warehouse.cut(warehouse.normalized_identifier($1), context), '
        'properties = warehouse.cut(warehouse.normalized_identifier($1), properties) where %s',
        warehouse.condition_of_holding('staging.raw_events', of_client is not null)
    ) using sought, of_client;
    get diagnostics n = row_count;
    changed := changed || jsonb_build_object('staging.raw_events, changed', n);

    for place in
        select f.relation, c.relname
        from pg_temp.erased_facts as f inner join pg_class as c on f.relation = c.oid
        union all
        select c.oid::regclass, c.relname
        from pg_class as c
        where
            c.oid = to_regclass('intermediate.int_sequence_uses')
            and warehouse.is_safe_to_touch(c.oid)
    loop
        condition := warehouse.condition_of_holding(place.relation, of_client is not null);
        continue when condition is null;
        execute format(
            'with gone as (delete from %1$s where %2$s returning *), '
            'back as (insert into %1$s (%3$s) select %4$s from gone on conflict do nothing returning *) '
            'insert into pg_temp.erased_rows '
            'select %5$L, to_jsonb(g) from gone as g union all select %5$L, to_jsonb(b) from back as b',
            place.relation,
            condition,
            (
                select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                from pg_attribute as a
                where a.attrelid = place.relation and a.attnum > 0 and not a.attisdropped
            ),
            (
                select
                    string_agg(
                        case
                            when a.atttypid in ('text'::regtype, 'jsonb'::regtype)
                                and a.attname not in (
                                    'client_id', 'user_id', 'lead_id', 'anonymous_id', 'unit_id',
                                    'development_id', 'visitor_id'
                                )
                                then format(
                                    case a.attname
                                        -- This column holds only the host of an address.
                                        when 'referrer_host'
                                            then 'case when warehouse.equals_identifier('
                                            'warehouse.normalized_identifier($1), warehouse.as_bytes(%1$I)) '
                                            'then ''(erased)'' else %1$I end'
                                        else 'warehouse.cut(warehouse.normalized_identifier($1), %I)'
                                    end,
                                    a.attname
                                )
                            else quote_ident(a.attname)
                        end,
                        ', ' order by a.attnum
                    )
                from pg_attribute as a
                where a.attrelid = place.relation and a.attnum > 0 and not a.attisdropped
            ),
            place.relname
        ) using sought, of_client;
        get diagnostics n = row_count;
        -- Each changed row is there twice: the old and the new version.
        changed := changed || jsonb_build_object(place.relation || ', changed', n / 2);
    end loop;
    return changed;
end
$$;
