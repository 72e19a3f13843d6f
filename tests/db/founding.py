"""Builds both tenants through the application's own doors, as people and the application would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256

from api.ids import new_id
from sandbox.postgres import Server
from tests import cluster as clusters
from tests.cluster import Database
from tests.db import (
    absences,
    amendments,
    channels,
    constitutions,
    directory,
    hooks,
    incidents,
    loops,
    models,
    stopped,
    tools,
    undo,
)
from tests.db.names import (
    BILLS,
    DELETE,
    ENVIRONMENTS,
    NOTE,
    PAY,
    PROVIDERS,
    REFUND,
    ROLES,
    RUN_KEYS,
    SCOPES,
    TENANTS,
    Environment,
    Row,
    Tenant,
    soon,
)
from tests.db.world import World


@cache
def peopled(cluster: Server) -> str:
    """The template database that holds both tenants, ready for business; made once per run."""
    clusters.shared(cluster, "peopled", clusters.TEMPLATE, build)
    return "peopled"


@cache
def busy(cluster: Server) -> str:
    """The template database in which both tenants have been at work; made once per run."""
    clusters.shared(cluster, "busy", peopled(cluster), work)
    return "busy"


@contextmanager
def world_from(cluster: Server, template: str) -> Iterator[World]:
    """A world in a database of its own, a copy of a template."""
    with clusters.cloned(cluster, template) as database:
        made = World(database)
        made.beat()  # the template may be older than a scheduled function may be silent
        yield made
        made.close()


def build(database: Database) -> None:
    """Fills a migrated database with both tenants."""
    world = World(database)
    world.beat()
    for name in TENANTS:
        sign_in(world, Tenant(name))
        _found(world, Tenant(name))
    world.close()


def sign_in(world: World, tenant: Tenant) -> None:
    """Gives every person of the tenant a session at Supabase Auth."""
    for who in ROLES:
        world.rows("insert into auth.users (id) values (%s)", tenant.person(who))
        values = (tenant.session(who), tenant.person(who))
        world.rows("insert into auth.sessions (id, user_id, aal) values (%s, %s, 'aal2')", *values)


def work(database: Database) -> None:
    """Adds business of every kind to both tenants, so that no table of theirs is empty."""
    world = World(database)
    undo.publish(world)
    absences.publish(world)
    for name in TENANTS:
        _work(world, Tenant(name))
    world.close()


def _work(world: World, tenant: Tenant) -> None:
    """In both environments something waits, something is approved, executed and read; and something is stopped."""
    _by_hand(world, tenant)  # before anything has been claimed, which it would stop
    for environment in ENVIRONMENTS:
        said = {"rationale": tenant.mark(environment), "summary": tenant.mark(environment)}
        world.payment(tenant, environment=environment, **said)
        leaving = world.claim(world.authorized(tenant, environment=environment, **said), lease_seconds=86400)
        fenced = {"attempt_id": leaving["attempt_id"], "fence": leaving["fence"]}
        world.call(tenant.system(), "send_attempt_v1", fenced)
        unsent = world.claim(world.note(tenant, environment=environment, **said), lease_seconds=86400)
        world.owner.execute("update app.attempts set sent_at = null where id = %s", (unsent["attempt_id"],))
        for outcome in ("succeeded", "dead_letter", "unknown"):
            world.finish(tenant, world.claim(world.note(tenant, environment=environment, **said)), outcome)
        world.note(tenant, environment=environment, **said)
        _undo(world, tenant, environment)
        absences.looked(world, absences.lost(world, tenant, environment, **said))
        late = absences.answered_late(world, tenant, environment, **said)
        world.call(tenant.system(), "note_late_answer_v1", late)
        by, observation = tenant.service(environment), world.observation(tenant, environment, lease_seconds=86400)
        world.call(by, "claim_observation_v1", observation)
        world.call(by, "keep_run_keys_v1", {"run_id": tenant.run(environment), "keys": RUN_KEYS})
        world.call(by, "list_tools_v1", {"name": PAY}, key="read once", request="tools")
        _draft(world, tenant, environment)
        _comment(world, tenant, environment)
        _end_connections(world, tenant, environment)
        _vouch(world, tenant, environment)
        models.work(world, tenant, environment)
        loops.work(world, tenant, environment)
        hooks.work(world, tenant, environment)
        channels.work(world, tenant, environment)
        incidents.work(world, tenant, environment)
        threshold = {"workflow": tenant.slug(environment), "tool": PAY, "threshold": 0.85}
        threshold |= {"reason": tenant.mark(environment)}
        world.call(tenant.user("admin"), "set_confidence_threshold_v1", threshold)
        # One amendment waits to be adopted; another exception was decided that none is proposed from yet.
        amendments.proposed(world, amendments.decided(world, tenant, environment))
        amendments.decided(world, tenant, environment, name="another")
    erasure = {"id": str(new_id()), "subject": "m***", "reason": tenant.mark(), "searched_to": None}
    runs = [tenant.run(environment) for environment in ENVIRONMENTS]
    world.call(tenant.user(), "request_erasure_v1", erasure | {"run_ids": runs})
    directory.agreed(world, tenant, directory.settings(48))
    tools.register(world, tenant, title=tenant.mark())
    for environment in ENVIRONMENTS:
        _permit(world, tenant, environment)
    # The owner's draft waits for somebody to decide it; the admin has one under way.
    constitutions.submitted(world, tenant, constitutions.draft(reason=tenant.mark()))
    world.call(tenant.user("admin"), constitutions.CREATE, constitutions.draft(reason=tenant.mark()))
    invitation = {"id": str(new_id()), "email": tenant.invited, "role": "auditor", "name": tenant.mark()}
    world.call(tenant.user(), "invite_v1", invitation)
    world.call(tenant.user(), "release_kill_switch_v1", {"id": world.stop(tenant, "tool", DELETE), "reason": "over"})
    world.stop(tenant, "tool", REFUND)  # none of the workflow's own, so that a version of it can go live
    _keep_facts(world, tenant)
    world.owner.execute(
        "insert into app.audit_checkpoints (tenant_id, seq, hash, signature, key_id)"
        " select tenant_id, seq, hash, 'signed', 'k1' from app.audit_heads where tenant_id = %s",
        (tenant.id,),
    )


def _undo(world: World, tenant: Tenant, environment: Environment) -> None:
    """Something can be undone; a run is being undone, of which nothing can be; and a dead letter was requeued."""
    said = {"rationale": tenant.mark(environment), "summary": tenant.mark(environment)}
    run = {"id": tenant.undone(environment), "workflow": tenant.slug(environment), "trigger": "call", "subject": None}
    undo.tagged(world, tenant, environment, **said)
    world.call(tenant.service(environment), "start_run_v1", run | {"instruction": tenant.mark(environment)})
    written = world.note(tenant, environment=environment, run_id=run["id"], **said)
    world.finish(tenant, world.claim(written))
    plan = {"id": str(new_id()), "run_id": run["id"], "reason": tenant.mark(environment)}
    world.call(tenant.service(environment), "undo_run_v1", plan)
    dead = world.note(tenant, environment=environment, **said)
    world.finish(tenant, world.claim(dead), "dead_letter")
    world.call(tenant.user(), "requeue_action_v1", {"id": dead.id, "reason": tenant.mark(environment)})


def _by_hand(world: World, tenant: Tenant) -> None:
    """Something was stopped that people do by hand, and may run again by now."""
    switch = world.stop(tenant, "service_account", tenant.agent)
    for environment in ENVIRONMENTS:
        said = {"rationale": tenant.mark(environment), "summary": tenant.mark(environment)}
        stopped.manual(world, tenant, environment=environment, **said)
    for stage in ("drafts", "one_at_a_time", "released"):
        world.call(tenant.user(), "release_kill_switch_v1", {"id": switch, "reason": "over", "stage": stage})


def _permit(world: World, tenant: Tenant, environment: Environment) -> None:
    """The client may do one thing, is doing another, and has reported a third."""
    for step in ("authorized", "permitted", "reported"):
        said: Row = {"rationale": tenant.mark(environment), "summary": tenant.mark(environment)}
        made = tools.proposal(world, tenant, environment=environment, outcome="allow", **said)
        world.call(tenant.service(environment), "record_action_v1", made)
        if step != "authorized":
            permit = {"action_id": made["id"], "attempt_id": str(new_id()), "permit_seconds": 900}
            world.call(tenant.service(environment), "claim_permit_v1", permit)
        if step == "reported":
            outcome = {"action_id": made["id"], "attempt_id": permit["attempt_id"], "digest": made["digest"]}
            outcome |= {"outcome": "failed", "error": tenant.mark(environment)}
            world.call(tenant.service(environment), "report_outcome_v1", outcome)


def _end_connections(world: World, tenant: Tenant, environment: Environment) -> None:
    """One connection is closed, one is being revoked, one is signed in anew, and an alert is open."""
    for kind in ("closed/read", "leaving/read"):
        connect(world, tenant, kind, environment, "sandbox_crm")
        world.call(tenant.user(), "revoke_connection_v1", {"id": tenant.connection(kind, environment)})
    leaving = {"connection_id": tenant.connection("leaving/read", environment)}
    world.call(tenant.system(), "claim_revocation_v1", leaving)
    again = tenant.connection("crm/read", environment)
    state = sha256(f"{again}/again".encode()).hexdigest()
    begin = {
        "id": again, "scopes": ["all"], "state_hash": state, "binding_hash": state, "verifier": "sealed",
        "redirect_uri": "https://example.com/callback", "expires_at": soon(minutes=10),
    }  # fmt: skip
    world.call(tenant.user("admin"), "begin_reconnect_v1", begin)
    world.owner.execute("select app.claim_oauth_flow_v1(decode(%s, 'hex'), decode(%s, 'hex'))", (state, state))
    alert = {
        "environment": environment, "kind": "connection.consent_ending", "severity": "warning", "title": "It ends",
        "subject_type": "connection", "subject_id": again, "detail": {"said": tenant.mark(environment)},
    }  # fmt: skip
    world.call(tenant.system(), "raise_alert_v1", alert)


def _vouch(world: World, tenant: Tenant, environment: Environment) -> None:
    """Somebody whom the tenant vouches for, whose account is to change."""
    name = directory.entry(tenant.mark(environment))
    known = directory.vouch(world, tenant, environment, entry=name)
    account = [directory.account(directory.OTHER_IBAN)]
    new = directory.change(environment, "change", entry_id=known, base_version=1, entry=name, details=account)
    world.call(tenant.user("operator"), "propose_directory_change_v1", new)


def _comment(world: World, tenant: Tenant, environment: Environment) -> None:
    [(waiting, *_)] = world.rows(
        "select id::text from app.exceptions where tenant_id = %s and environment = %s order by created_at limit 1",
        tenant.id,
        environment,
    )
    said = {"id": str(new_id()), "exception_id": waiting, "text": tenant.mark(environment)}
    world.call(tenant.user("approver"), "comment_exception_v1", said)


def _draft(world: World, tenant: Tenant, environment: Environment) -> None:
    """Two more versions of the workflow: one waits for its review, one is a draft."""
    version = {"slug": tenant.slug(environment), "spec": spec_of(tenant, environment)}
    world.call(tenant.user("developer"), "create_workflow_version_v1", version)
    world.call(tenant.user("developer"), "submit_workflow_version_v1", {"slug": version["slug"], "version": 2})
    world.call(tenant.user("developer"), "create_workflow_version_v1", version)


def _found(world: World, tenant: Tenant) -> None:
    """Founds a tenant, peoples it, and opens both environments for business."""
    founder = tenant.user() | {"tenant_id": None}
    constitution = {"rules": [], "reason": tenant.mark()}
    creation = {"id": tenant.id, "name": tenant.name, "email": "owner@example.com", "constitution": constitution}
    world.call(founder, "create_tenant_v1", creation)
    for who, role in ROLES.items():
        if who != "owner":
            world.admit(tenant, tenant.person(who), role, f"{who}@example.com", who)
    separation = {"if_match": None, "separation_of_duties": True}
    world.call(tenant.user("owner2"), "update_tenant_v1", separation)
    world.call(
        tenant.user("owner2"), "update_tenant_v1", separation | {"separation_of_duties": False, "reason": "too few"}
    )
    account = {"id": tenant.agent, "name": "agent", "description": tenant.mark()}
    world.call(tenant.user("developer"), "create_service_account_v1", account)
    for environment in ENVIRONMENTS:
        key = {
            "id": tenant.key(environment), "service_account_id": tenant.agent, "environment": environment,
            "prefix": "cs_test", "secret_hash": tenant.key_hash(environment), "scopes": SCOPES,
            "expires_at": soon(days=30),
        }  # fmt: skip
        world.call(tenant.user(), "create_api_key_v1", key)
        _open(world, tenant, environment)
    _keep_facts(world, tenant)


def _keep_facts(world: World, tenant: Tenant) -> None:
    """Asks for the facts of this epoch: kept from now on, so that asking again changes nothing."""
    for environment in ENVIRONMENTS:
        world.call(tenant.service(environment), "gate_facts_v1", {"workflow": tenant.slug(environment)})


def _open(world: World, tenant: Tenant, environment: Environment) -> None:
    """Connects the bank and the CRM, puts a workflow live and starts a run of it."""
    for short, provider in PROVIDERS.items():
        for access in ("read", "write"):
            connect(world, tenant, f"{short}/{access}", environment, provider)
    slug = tenant.slug(environment)
    workflow = {"id": tenant.workflow(environment), "slug": slug, "environment": environment}
    workflow |= {"title": tenant.mark(environment)}
    world.call(tenant.user("developer"), "create_workflow_v1", workflow | {"spec": spec_of(tenant, environment)})
    world.call(tenant.user("developer"), "submit_workflow_version_v1", {"slug": slug, "version": 1})
    approval = {"slug": slug, "version": 1, "reason": "reviewed"}
    world.call(tenant.user("admin"), "approve_workflow_version_v1", approval)
    run = {"id": tenant.run(environment), "workflow": slug, "trigger": "call", "instruction": tenant.mark(environment)}
    world.call(tenant.service(environment), "start_run_v1", run | {"subject": None})


def spec_of(tenant: Tenant, environment: Environment) -> Row:
    """An access spec that pays, writes notes and deletes contacts, with everything that a go-live asks for."""
    known = ["financial", "personal", "internal"]
    write: Row = {"access": "write", "data_classes": known}
    fields = [f"/bills/*/{name}" for name in ("id", "iban", "amount", "currency", "reference")]
    return {
        "purpose": "Pay bills and keep the CRM",
        "owner": "owner@example.com",
        "escalation_contact": "approver@example.com",
        "stage": "autonomous",
        "connections": {
            provider: {a: tenant.connection(f"{short}/{a}", environment) for a in ("read", "write")}
            for short, provider in PROVIDERS.items()
        },
        "tools": {
            PAY: write,
            DELETE: write,
            NOTE: write | {"irreversible_alone": True},
            BILLS: {"access": "read", "read_fields": fields},
        },
        "confidence_min": 0.8,
        "approvals": {"count": 1, "roles": ["owner", "approver"], "aal": "aal1"},
        "approval_hours": 72,
        "data_classes": known,
        "loop": loops.loop_of(tenant, environment, models.REASONER),
        "retention_days": 30,
        "retention": {"personal": 10, "financial": 20},
    }


def connect(world: World, tenant: Tenant, kind: str, environment: Environment, provider: str) -> None:
    """Begins a connection and stores its envelope, as a sign-in at the provider does."""
    connection = tenant.connection(kind, environment)
    state = sha256(connection.encode()).hexdigest()
    begin = {
        "id": connection, "provider": provider, "environment": environment, "access": kind.partition("/")[2],
        "scopes": ["all"], "state_hash": state, "binding_hash": state, "verifier": "sealed",
        "redirect_uri": "https://example.com/callback", "expires_at": soon(minutes=10),
    }  # fmt: skip
    world.call(tenant.user("admin"), "create_connection_v1", begin)
    tokens = {
        "connection_id": connection, "replaces": None, "envelope": tenant.envelope(kind, environment),
        "token_expires_at": soon(hours=1), "scopes_granted": ["all"], "account": {"id": tenant.mark(environment)},
    }  # fmt: skip
    world.call(tenant.user("admin"), "store_credential_v1", tokens)
