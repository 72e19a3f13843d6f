-- What people of the tenant say to each other about an exception: appended, never changed, and erased with the run that it is about. The
-- log says that somebody spoke, and by a digest what of, but not the words.

create table app.exception_comments (
    tenant_id uuid not null references app.tenants,
    id uuid not null,
    exception_id uuid not null,
    environment text not null check (environment in ('sandbox', 'production')),
    run_id uuid not null,
    action_id uuid not null,
    user_id uuid not null,
    text text not null check (case when erased_at is null then length(trim(text)) between 1 and 4000 and length(text) <= 4000 else text = '' end),
    digest text not null,
    created_at timestamptz not null,
    erased_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, exception_id) references app.exceptions (tenant_id, id),
    foreign key (tenant_id, run_id) references app.runs (tenant_id, id),
    foreign key (tenant_id, action_id) references app.actions (tenant_id, id)
);
create index exception_comments_by_time on app.exception_comments (tenant_id, exception_id, created_at desc, id desc);
create index exception_comments_by_run on app.exception_comments (tenant_id, run_id);
create index exception_comments_by_action on app.exception_comments (tenant_id, action_id);

-- Whoever writes the row: a person of the tenant who decides exceptions, in their own name. Nothing changes afterwards, but that the
-- words go once those of the exception have gone; what is left of the row is made here.
create function private.guard_exception_comment() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal;
    v_exception app.exceptions;
begin
    if tg_op = 'INSERT' then
        v_principal := private.require('exceptions.decide');
        if v_principal.kind <> 'user' or (v_principal.tenant_id, v_principal.id) is distinct from (new.tenant_id, new.user_id) then
            perform private.fail(403, 'people_only', 'Only a person of the tenant comments, in their own name.');
        end if;
        -- Locked, so that none comes while the exception is being erased.
        select * into v_exception from app.exceptions where tenant_id = new.tenant_id and id = new.exception_id for no key update;
        if not found then
            perform private.fail(404, 'not_found', 'There is no such exception.');
        elsif v_exception.erased_at is not null then
            perform private.fail(409, 'erased', 'What this exception is about is erased; nothing more is kept of it.');
        end if;
        new.environment := v_exception.environment;
        new.run_id := v_exception.run_id;
        new.action_id := v_exception.action_id;
        new.digest := 'sha256:' || encode(sha256(convert_to(new.text, 'UTF8')), 'hex');
        new.created_at := clock_timestamp();
        new.erased_at := null;
        return new;
    end if;
    select * into v_exception from app.exceptions where tenant_id = old.tenant_id and id = old.exception_id;
    if tg_op = 'DELETE' or old.erased_at is not null or v_exception.erased_at is null then
        perform private.fail(409, 'append_only', 'A comment stays as it was written.');
    end if;
    new := old;
    new.text := '';
    new.erased_at := clock_timestamp();
    return new;
end
$$;
create trigger exception_comments_guard before insert or update or delete on app.exception_comments
    for each row execute function private.guard_exception_comment();
select private.audit_table('app.exception_comments', 'comment', 'added', 'exception_id digest user_id erased_at');
select private.guard_table('app.exception_comments');

-- The words go with those of the exception, whoever erases it: the guard of exceptions says when that may be.
create function private.erase_comments() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update app.exception_comments set erased_at = now() where tenant_id = new.tenant_id and exception_id = new.id and erased_at is null;
    return null;
end
$$;
create trigger exceptions_erase_comments after update of erased_at on app.exceptions
    for each row when (new.erased_at is not null) execute function private.erase_comments();

alter table app.exception_comments enable row level security;
alter table app.exception_comments force row level security;
-- People only: an agent that read what the people make of its proposals could write its next ones to suit them.
create policy "people read their tenant's comments on exceptions of their environment" on app.exception_comments for select to authenticated
    using (tenant_id = (select private.current_tenant())
        and (select private.claims()) ->> 'kind' = 'user'
        and environment = coalesce((select private.current_environment()), environment));
grant select on app.exception_comments to authenticated;

-- Comments on an exception, also on one that is decided. The answer has no text: stored answers hold nothing that would have to be
-- erased. args: {id, exception_id, text}
create function app.comment_exception_v1(p_args jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_principal private.principal := private.require('exceptions.decide');
    v_comment app.exception_comments;
begin
    insert into app.exception_comments (tenant_id, id, exception_id, user_id, text)
        values (v_principal.tenant_id, (p_args ->> 'id')::uuid, (p_args ->> 'exception_id')::uuid, v_principal.id, p_args ->> 'text') returning * into v_comment;
    return jsonb_build_object('id', v_comment.id, 'exception_id', v_comment.exception_id, 'user_id', v_comment.user_id,
        'digest', v_comment.digest, 'created_at', v_comment.created_at);
end
$$;

select private.guard_table('app.exceptions');
revoke all on all functions in schema app, private from public;
grant execute on function app.comment_exception_v1 to authenticated;
