"""One of everything that a tenant can have, by the name that paths give it."""

from sandbox.organisation import Organisation, invite, ok, once
from tests.http.alerts import an_alert
from tests.http.amendments import amendment_of
from tests.http.channels import told_once
from tests.http.constitutions import drafted
from tests.http.incidents import an_incident
from tests.http.integrator import PAY, access_spec, at_work, payment, vouched_for
from tests.http.model_providers import registered
from tests.http.test_erasure import ask
from tests.http.webhook_triggers import webhook_trigger
from tests.http.world import World


def everything_of(world: World, company: Organisation) -> dict[str, str]:
    """The ids of what a new organisation has then, by the names of parameters of paths; its workflow is live."""
    company.go_live("their-workflow", "Theirs", access_spec(company))
    with at_work(company, "their-workflow") as agent:
        action = agent.propose(PAY, payment())
        observation = agent.observe()
        amendment = amendment_of(company, agent)
    body = {"scope": "connection", "target": company.connections["sandbox_crm/read"], "reason": "x"}
    switch = ok(company.owner.api.post("/v1/kill-switches", json=body, headers=once()))
    invitation = invite(company.owner, "somebody@their.example", "auditor")
    alert = an_alert(world, company)
    change = vouched_for(company, "Their Vendor")
    draft = drafted(company.owner, [], 1)
    channel, delivery = told_once(world, company)
    incident = an_incident(company, due=company.approver)
    return {
        "invitation_id": invitation["id"], "change_id": change["id"], "entry_id": change["entry_id"],
        "slug": "their-workflow", "version": "1", "seq": "999999",
        "user_id": company.approver.user_id, "run_id": agent.run_id,
        "account_id": company.service_account_id, "key_id": company.key_id, "switch_id": switch["id"],
        "connection_id": company.connections["sandbox_bank/write"], "action_id": action["id"],
        "exception_id": action["exception"]["id"], "digest": action["digest"], "observation_id": observation["id"],
        "tenant_id": company.tenant_id, "alert_id": alert, "draft_id": draft["id"], "number": "9999",
        "amendment_id": amendment["id"], "channel_id": channel, "delivery_id": delivery,
        "incident_id": incident["incident_id"], "follow_up_id": incident["id"],
        "provider_id": registered(company.owner)["id"],
        "trigger_id": webhook_trigger(company.owner, "their-workflow")["id"],
        "erasure_id": ask(company, subject={"type": "bill", "id": "nobody's"})["id"],
    }  # fmt: skip
