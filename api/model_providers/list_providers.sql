-- Model providers, newest first, after the given key; or one of them. Their keys are not among the columns that may be read.
select id, name, kind, environment, base_url, region, currency, models,
    jsonb_build_object('trains_on_data', trains_on_data, 'retention_days', retention_days, 'basis', basis) as declares,
    status, generation as key_generation, created_by, created_at, updated_at
from app.model_providers
where (%(id)s::uuid is null or id = %(id)s)
    and (%(after_at)s::timestamptz is null or (created_at, id) < (%(after_at)s, %(after_id)s))
order by created_at desc, id desc
limit %(limit)s
