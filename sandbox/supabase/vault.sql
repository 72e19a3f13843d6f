-- Supabase Vault's interface and grants without its extension. Run once per database by supabase_admin.
--
-- What is mimicked: names, signatures, columns, who may do what, and the quirks a caller can trip over. What is
-- not: the strength. The real Vault uses libsodium's deterministic AEAD; here a secret is masked with a keystream
-- of SHA-256 and tagged with it, enough that a dump shows no secret and a tampered one is refused. That is why
-- Countersign seals whatever it stores here beforehand.
--
-- Functions name pg_temp last: left out of the search path it would come first, for types too, and a caller's
-- temporary type could then run inside a function of the superuser.

create schema vault;

-- The root key of the cluster (cluster.sql). Only the definer functions below can call this.
create function vault._root_key() returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
    select decode(trim(e'\n' from pg_read_file('vault_root_key')), 'hex')
$$;

-- Masks or unmasks a message: word n (8 bytes) is combined with the first word of sha256(stream key || n).
create function vault._mask(message bytea, stream_key bytea) returns bytea
language sql immutable strict set search_path = pg_catalog, pg_temp as $$
    select coalesce(substring(string_agg(int8send(word # mask), ''::bytea order by n) from 1 for length(message)), '')
    from generate_series(0, (length(message) + 7) / 8 - 1) as n
    cross join lateral (
        select
            ('x' || encode(substring(message || '\x00000000000000'::bytea from n * 8 + 1 for 8), 'hex'))
                ::bit(64)::bigint as word,
            ('x' || encode(substring(sha256(stream_key || int4send(n)) from 1 for 8), 'hex'))
                ::bit(64)::bigint as mask
    ) as words
$$;

-- One key per purpose and secret. The parts are hashed one by one, so that no two ways of cutting them collide.
create function vault._derive(purpose text, additional bytea, key_id bigint, context bytea, nonce bytea)
returns bytea language sql stable strict set search_path = pg_catalog, pg_temp as $$
    select sha256(
        vault._root_key() || sha256(convert_to(purpose, 'utf8')) || sha256(additional) || int8send(key_id)
        || sha256(context) || sha256(nonce)
    )
$$;

create function vault._crypto_aead_det_noncegen() returns bytea
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select substring(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) from 1 for 16)
$$;

-- Tag (32 bytes), then the masked message. Null in, null out: the table's NOT NULL reports it.
create function vault._crypto_aead_det_encrypt(
    message bytea, additional bytea, key_id bigint, context bytea default 'pgsodium', nonce bytea default null
) returns bytea language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select sha256(vault._derive('tag', additional, key_id, context, nonce) || sha256(masked)) || masked
    from vault._mask(message, vault._derive('mask', additional, key_id, context, nonce)) as masked
$$;

create function vault._crypto_aead_det_decrypt(
    message bytea, additional bytea, key_id bigint, context bytea default 'pgsodium', nonce bytea default null
) returns bytea language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_masked constant bytea := substring(message from 33);
    v_tag constant bytea :=
        sha256(vault._derive('tag', additional, key_id, context, nonce) || sha256(v_masked));
begin
    if v_tag <> substring(message from 1 for 32) then
        raise exception 'pgsodium_crypto_aead_det_decrypt_by_id: invalid ciphertext' using errcode = 'data_exception';
    end if;
    return vault._mask(v_masked, vault._derive('mask', additional, key_id, context, nonce));
end
$$;

create table vault.secrets (
    id uuid primary key default gen_random_uuid(),
    name text,
    description text not null default '',
    secret text not null,
    key_id uuid,
    nonce bytea default vault._crypto_aead_det_noncegen(),
    created_at timestamptz not null default current_timestamp,
    updated_at timestamptz not null default current_timestamp
);
comment on table vault.secrets is 'Secrets, masked at rest; read them through vault.decrypted_secrets';
create unique index secrets_name_idx on vault.secrets (name) where name is not null;

create view vault.decrypted_secrets as
select
    s.id, s.name, s.description, s.secret,
    convert_from(
        vault._crypto_aead_det_decrypt(
            decode(s.secret, 'base64'), convert_to(s.id::text, 'utf8'), 0, 'pgsodium'::bytea, s.nonce
        ),
        'utf8'
    ) as decrypted_secret,
    s.key_id, s.nonce, s.created_at, s.updated_at
from vault.secrets as s;

-- new_key_id is ignored, as in the real one.
create function vault.create_secret(
    new_secret text, new_name text default null, new_description text default '', new_key_id uuid default null
) returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_id constant uuid := gen_random_uuid();
    v_nonce constant bytea := vault._crypto_aead_det_noncegen();
begin
    insert into vault.secrets (id, secret, name, description, nonce)
    values (
        v_id,
        encode(
            vault._crypto_aead_det_encrypt(
                convert_to(new_secret, 'utf8'), convert_to(v_id::text, 'utf8'), 0, 'pgsodium'::bytea, v_nonce
            ),
            'base64'
        ),
        new_name, new_description, v_nonce
    );
    return v_id;
end
$$;

-- Quirks kept: the nonce stays what it was, an unknown id is no error, null leaves a column alone, and the
-- present secret is decrypted first, so that a damaged one cannot be replaced.
create function vault.update_secret(
    secret_id uuid, new_secret text default null, new_name text default null, new_description text default null,
    new_key_id uuid default null
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform d.decrypted_secret from vault.decrypted_secrets as d where d.id = secret_id;
    update vault.secrets as s
    set
        secret = case when new_secret is null then s.secret else encode(
            vault._crypto_aead_det_encrypt(
                convert_to(new_secret, 'utf8'), convert_to(s.id::text, 'utf8'), 0, 'pgsodium'::bytea, s.nonce
            ),
            'base64'
        ) end,
        name = coalesce(new_name, s.name),
        description = coalesce(new_description, s.description),
        updated_at = now()
    where s.id = secret_id;
end
$$;

-- Nobody inserts or updates directly: the functions are the way in. Hosted projects lately let postgres
-- reference and truncate too; not here, because a foreign key to vault.secrets breaks restoring a dump.
revoke all on all functions in schema vault from public;
grant usage on schema vault to postgres with grant option;
grant select, delete on vault.secrets, vault.decrypted_secrets to postgres with grant option;
grant execute on function vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt
    to postgres with grant option;
grant usage on schema vault to service_role;
grant select, delete on vault.secrets, vault.decrypted_secrets to service_role;
grant execute on function vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt to service_role;
