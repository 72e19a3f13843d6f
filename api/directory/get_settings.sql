-- The settings in force; none when nobody ever changed them.
select version, cooling_off_hours, change_id from app.directory_settings order by version desc limit 1
