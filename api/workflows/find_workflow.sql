-- The workflow of a slug or an id, as far as the caller may see it.
select id from app.workflows where slug = %(target)s or id::text = lower(%(target)s)
