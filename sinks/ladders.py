"""How far up its ladder each job had to go: for those who learn from it."""

from typing import Final

from sinks.warehouse import Rows, Warehouse

MOST: Final = 50_000
_CLIMBS: Final = """
SELECT texts.text AS input, jobs.rung AS rung, jobs.status AS status
FROM v_jobs AS jobs
INNER JOIN (SELECT sha256, argMax(text, time) AS text FROM payloads GROUP BY sha256) AS texts
    ON texts.sha256 = jobs.input_sha256
INNER JOIN (SELECT tenant, job_id, min(rung) AS first FROM decisions FINAL GROUP BY tenant, job_id) AS begun
    ON begun.tenant = jobs.tenant AND begun.job_id = jobs.job_id
WHERE jobs.workflow = {workflow:String}
    AND ({version:String} = '' OR jobs.version = {version:String})
    AND jobs.created_at > now() - toIntervalDay({days:UInt32})
    AND begun.first = 0
ORDER BY jobs.created_at DESC
LIMIT {most:UInt32}
"""


def climbs(warehouse: Warehouse, workflow: str, days: int, version: str | None = None) -> Rows:
    """Input text, last rung and status of the jobs of the last days that began at the ladder's foot, newest first.

    Raises:
        WarehouseAway: not reachable.
    """
    bound = {"workflow": workflow, "version": version or "", "days": days, "most": MOST}
    return warehouse.query(_CLIMBS, bound)
