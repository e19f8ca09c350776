"""Pure builders and readers of Kubernetes objects: plain dicts and frozen values in, plain dicts and frozen values out.

Called by ``phases``; does no I/O, knows no time and no chance. What each module offers:

- ``labels``: label and annotation keys; ``job_name(infdep, purpose, run_uid, subject, attempt)``, ``run_name(infdep,
  fingerprint, attempt)``, ``labels_of(...)``, ``selector(...)``
- ``engine_command``: ``parse(container) -> EngineCommand``, ``render(command) -> (command, args)``, exception
  ``Refused``
- ``baseline``: ``snapshot(target, spec, scalers) -> Baseline``, ``serving_of(target, container, accelerator_resource)
  -> Serving``, ``serving_hash``, ``template_hash``, ``recorded(target) -> Baseline | None``; exception ``Refused``
  (``.reason``, ``.message``)
- ``serving``: ``candidate_serving(baseline, *, engine, precision, kv_cache, parallelism, max_num_seqs, artefact,
  engine_images) -> Serving``, ``parallelism_of(baseline) -> int``; exception ``Excluded`` (its text is the rule)
- ``jobs``: ``trial_job``, ``verify_job``, ``compress_job`` -> Job; ``disrupted(job) -> bool``; ``VOLUME_PATH``,
  ``MODEL_PATH``
- ``ownership``: ``check(target, container, *, replicas, take_ownership) -> Ownership``
- ``target``: ``template_patch``, ``replicas_patch``, ``restore_patch`` -> server-side apply intents; ``rollout_state``
  -> RolloutState
- ``artefacts``: ``artefact_name(...)``, ``recipe_for(precision)``
"""

from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as the API server sent it."""
Manifest = dict[str, Any]
"""A Kubernetes object, or a server-side apply intent, that we made."""
