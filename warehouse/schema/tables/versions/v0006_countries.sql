-- Where visitors come from, by country.

alter table staging.raw_events add column country text;

comment on column staging.raw_events.country is
'ISO 3166-1 code of the country that the IP belonged to on receipt; empty without a country database.';
