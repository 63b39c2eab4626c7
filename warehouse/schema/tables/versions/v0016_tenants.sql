comment on table warehouse.tenants is
'Whose rows a tenant''s role sees: those of its client, or with a user only that user''s own. Written by the owner alone; a role that is not here sees none.';
comment on column warehouse.tenants.role_name is
'A role that can not log in, a member of warehouse_tenant; the API takes it.';
