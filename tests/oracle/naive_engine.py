"""The same batching rules as ``benchmarks.oracle.engine``, written plainly: every request looked at in every step."""

from dataclasses import dataclass, field


@dataclass
class One:
    prompt: int
    output: int
    arrival_ns: int
    known: int = 0
    """Tokens whose keys and values are cached."""
    decodes: bool = False
    out: list[int] = field(default_factory=list)

    @property
    def target(self):
        return self.prompt + len(self.out)

    def blocks(self, size):
        return -(-self.known // size)


def play(shape, arrivals):  # noqa: C901 plain on purpose
    """Instants of every token (nanoseconds) by request, in order of arrival."""
    size = shape.block_tokens
    everyone = [One(a.input_tokens, a.output_tokens, round(a.at * 1e9)) for a in arrivals]
    coming, waiting, running = list(zip(arrivals, everyone, strict=True)), [], []
    now = 0.0

    def free():
        return shape.kv_blocks - sum(one.blocks(size) for one in running)

    def give_way():
        victim = running.pop()
        victim.known, victim.decodes = 0, False
        waiting.insert(0, victim)

    while coming or waiting or running:
        while coming and coming[0][0].at <= now:
            waiting.append(coming.pop(0)[1])
        if not waiting and not running:
            now = coming[0][0].at
            continue
        preempted = False

        def decodes():
            return [one for one in running if one.decodes]

        # one more token for each that decodes: its last token's keys are cached in this step
        while sum(one.known % size == 0 for one in decodes()) > free():
            give_way()
            preempted = True
        batch = decodes()
        context = sum(one.known + 1 for one in batch)
        for one in batch:
            one.known += 1
        budget, tokens, pairs, done = shape.batched_tokens - len(batch), 0, 0.0, []
        while tokens < budget:
            partial = running[-1] if running and running[-1] not in batch and running[-1] not in done else None
            one = partial
            if one is None:
                if preempted or not waiting or len(running) >= shape.sequences:
                    break
                one = waiting[0]
            chunk = min(one.target - one.known, budget - tokens)
            if -(-(one.known + chunk) // size) - one.blocks(size) > free():
                if partial:
                    give_way()
                break
            if partial is None:
                running.append(waiting.pop(0))
            pairs += chunk * (one.known + chunk / 2)
            one.known += chunk
            tokens += chunk
            if one.known == one.target:
                done.append(one)
        now += shape.step_s(tokens + len(batch), context, pairs)
        for one in (*batch, *done):
            one.out.append(int(now * 1e9))
            one.decodes = True
            if len(one.out) == one.output:
                running.remove(one)
    return [one.out for one in everyone]
