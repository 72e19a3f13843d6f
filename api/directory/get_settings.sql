-- The settings in force, and what they are lowered to from when.
select * from private.cooling_off((select private.current_tenant()))
