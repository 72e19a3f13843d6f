-- The tenant that the caller acts in.
select private.current_tenant() as id
