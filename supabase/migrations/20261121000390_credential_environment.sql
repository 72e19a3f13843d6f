-- A credential belongs to its connection's environment, and says so: its events in the audit log were those of both
-- environments, and told a key of one which connections the other has. The isolation matrix found it.

create function private.environment_of_connection(p_tenant uuid, p_connection uuid) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select environment from app.connections where tenant_id = p_tenant and id = p_connection
$$;

alter table app.credentials add column environment text;
-- A rewrite and no update: nothing happened to these credentials.
alter table app.credentials alter column environment type text
    using private.environment_of_connection(tenant_id, connection_id);

create function private.stamp_credential() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.environment := private.environment_of_connection(new.tenant_id, new.connection_id);
    return new;
end
$$;
create trigger credentials_stamp before insert on app.credentials
    for each row execute function private.stamp_credential();
select private.guard_table('app.credentials');

revoke all on all functions in schema app, private from public;
