-- Functions and views stand in ingestion/functions, one file each: what is current is what is there.

create table warehouse.functions (
    name text primary key,
    digest text not null
);

comment on table warehouse.functions is
'The text that each function and view was last made from: `warehouse init` makes those anew whose file has changed.';
