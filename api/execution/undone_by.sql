-- What an action undoes, if it is an undo.
select compensates from app.actions where id = %(id)s
