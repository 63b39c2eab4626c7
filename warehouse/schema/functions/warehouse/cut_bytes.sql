-- Cuts an identifier out of an address: replaces the part by (erased). JSON in a string is replaced
-- as a whole. Any other text is returned unchanged. Both arguments are texts of bytes.
create or replace function warehouse.cut_bytes(value text, content text, depth integer default 0)
returns text
language plpgsql immutable strict parallel safe as $$
declare
    stripped text := btrim(content, e' \t\n\r\f\v');
    address text [];
    authority text := '';
    host text;
    beginning text := '';
    rest text := content;
    who text;
begin
    if depth >= 3 then
        return content;
    end if;
    if left(stripped, 1) in ('{', '[', '"') then
        return case
            when warehouse.json_presence(value, stripped, depth + 1) > 0 then '(erased)' else content
        end;
    end if;
    if
        stripped !~ '^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//|[/?#]|[A-Z]{3,7} /)'
        and (stripped !~ '[/?#&=]' or stripped ~ e'[ \t\n\r\f\v]')
    then
        return content;
    end if;
    address := regexp_match(
        content, e'^([ \t\n\r\f\v]*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//)([^/?#]*)(.*)$'
    );
    if address is not null then
        beginning := address[1];
        rest := address[3];
        host := regexp_replace(address[2], '^.*@', '');
        authority := left(address[2], length(address[2]) - length(host));
        if authority <> '' then
            foreach who in array array[
                left(authority, -1), split_part(left(authority, -1), ':', 1), address[2]
            ] loop
                if
                    warehouse.equals_identifier(value, who)
                    or warehouse.equals_identifier(value, warehouse.percent_decoded(who))
                then
                    authority := '(erased)@';
                end if;
            end loop;
        end if;
        -- The same normalization as in dbt's macro host_of.
        if
            warehouse.equals_identifier(
                value,
                regexp_replace(
                    lower(regexp_replace(host, ':[0-9]*$', '') collate "C"), '^www\.', ''
                )
            )
        then
            host := '(erased)';
        end if;
        authority := authority || host;
    end if;
    return beginning || authority || coalesce(
        (
            select
                string_agg(
                    case
                        when p.part[1] ~ '^[/?#&;]' then p.part[1]
                        when warehouse.is_identifying_part(value, p.part[1], depth) then '(erased)'
                        when strpos(p.part[1], '=') = 0 then p.part[1]
                        else
                            case
                                when warehouse.is_identifying_part(value, split_part(p.part[1], '=', 1), depth)
                                    then '(erased)'
                                else split_part(p.part[1], '=', 1)
                            end
                            || '='
                            || case
                                when
                                    warehouse.is_identifying_part(
                                        value,
                                        substr(p.part[1], strpos(p.part[1], '=') + 1),
                                        depth
                                    )
                                    then '(erased)'
                                else substr(p.part[1], strpos(p.part[1], '=') + 1)
                            end
                    end,
                    '' order by p.place
                )
            from
                regexp_matches(rest, '([^/?#&;]+|[/?#&;]+)', 'g')
                with ordinality as p (part, place)
        ),
        ''
    );
end
$$;
