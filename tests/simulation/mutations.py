"""Rules of the producer, each with an edit of the sources that breaks it; the simulation has to find every one."""

from __future__ import annotations

from typing import NamedTuple

ACCUMULATOR = "krafka/_state/accumulator.py"
SEQUENCES = "krafka/_state/sequences.py"
OUTCOMES = "krafka/_state/outcomes.py"
MEMORY = "krafka/_state/memory.py"
ENGINE = "krafka/_io/engine.py"
SENDER = "krafka/_io/sender.py"
ADMISSION = "krafka/_io/admission.py"
CONNECTION = "krafka/_io/connection.py"
PRODUCER = "krafka/producer.py"
HOOKED = "krafka/_io/hooked.py"


class Mutation(NamedTuple):
    """One edit: `old`, which occurs once in `path`, becomes `new`."""

    name: str
    path: str
    old: str
    new: str


NAMED = (
    Mutation(
        "reuse a sequence after a timeout",
        SEQUENCES,
        "        partition.in_flight.remove(batch)\n        partition.unresolved = True\n",
        "        partition.in_flight.remove(batch)\n        partition.next_sequence = batch.base_sequence\n",
    ),
    Mutation(
        "drop the re-enqueue order",
        ACCUMULATOR,
        "        pending.insert(at, batch)\n",
        "        pending.append(batch)\n",
    ),
    Mutation(
        "complete a batch twice",
        ACCUMULATOR,
        "        if not batch.done:\n            batch.complete(base_offset, log_append_time)\n",
        "        batch.complete(base_offset, log_append_time)\n",
    ),
    Mutation(
        "count instead of identify in flush",
        ENGINE,
        "        for batch in batches:\n            while not batch.done:\n                await batch.wait()\n",
        "        ended = []\n"
        "        forget = self.accumulator._forget\n"
        "        def counted(batch):\n"
        "            ended.append(batch)\n"
        "            forget(batch)\n"
        "        self.accumulator._forget = counted\n"
        "        while len(ended) < len(batches) and self.accumulator.incomplete:\n"
        "            await anyio.sleep(0.001)\n",
    ),
)
"""The four that a simulation of a producer must find before anything else."""

NUMBERS = (
    Mutation(
        "skip the new epoch",
        SEQUENCES,
        "        if self.is_current(partition) and not self._raise_epoch():\n            return False\n",
        "",
    ),
    Mutation(
        "never note a gap",
        SEQUENCES,
        "    if partition.gap == NONE or batch.drain_order < partition.gap:\n",
        "    if False:\n",
    ),
    Mutation(
        "keep the old numbers behind a gap",
        SEQUENCES,
        "        for batch in partition.in_flight:\n            self._number(partition, batch)\n",
        "",
    ),
    Mutation(
        "send a second batch before the first acknowledgement",
        SEQUENCES,
        "        return partition.last_acked_sequence != NONE or not partition.in_flight\n",
        "        return True\n",
    ),
    Mutation(
        "let any number of batches pass one in doubt",
        SEQUENCES,
        "        if partition.overtaken and _are_too_many_ahead(partition):\n            return False\n",
        "",
    ),
    Mutation(
        "forget the numbers of a topic that was dropped",
        ACCUMULATOR,
        "        return retired or self._handling(topic).make_partition(topic, number)",
        "        return self._handling(topic).make_partition(topic, number)",
    ),
    Mutation(
        "take a duplicate for a failure",
        OUTCOMES,
        "    if rule.batch is Batch.ACKNOWLEDGE:\n",
        "    if False:\n",
    ),
)
PARTS = (
    Mutation(
        "send the parts of a batch after those behind it",
        ACCUMULATOR,
        "            self.reenqueue(part, not_before=0.0)\n",
        "            part.partition.pending.append(part)\n",
    ),
)
WAYS = (
    Mutation(
        "pipeline without numbers",
        ACCUMULATOR,
        "            return None if is_waited_for else batch\n",
        "            return batch\n",
    ),
    Mutation(
        "never look for a moved leader",
        SENDER,
        "        return error.refreshes_metadata\n",
        "        return False\n",
    ),
    Mutation(
        "lose a wake-up",
        SENDER,
        "            self._sender.release()\n",
        "            self._sender._is_held = False\n",
    ),
    Mutation(
        "forget a batch that was compressed elsewhere",
        ACCUMULATOR,
        "            self._take_body(batch, body)\n            self.settle(batch.partition)\n",
        "            self._take_body(batch, body)\n",
    ),
    Mutation(
        "pass a batch that is being compressed",
        ACCUMULATOR,
        "                        batch.in_compression = True\n",
        "                        partition.pending.popleft()\n",
    ),
    Mutation(
        "lose the alarm of the linger",
        ACCUMULATOR,
        "        self._lingering.append(batch)\n        self._wake_at(batch.created + self._linger)\n",
        "        self._lingering.append(batch)\n",
    ),
    Mutation("ignore deadlines", ACCUMULATOR, "        return self._expired(now)\n", "        return []\n"),
    Mutation(
        "miss what an answer leaves out",
        SENDER,
        "        for batch in unanswered.values():\n",
        "        for batch in ():\n",
    ),
)
TRUTH = (
    Mutation(
        "let records of any age share a deadline",
        "krafka/_state/topics.py",
        "    return config.linger + max(config.delivery_timeout / 100, 0.01)\n",
        "    return 1e9\n",
    ),
    Mutation(
        "say not written of what is on the wire",
        ENGINE,
        "        possibly_written = batch.possibly_written or batch.on_wire\n",
        "        possibly_written = batch.possibly_written\n",
    ),
    Mutation(
        "say not written of what was sent before",
        OUTCOMES,
        "    if error.possibly_written:\n        batch.possibly_written = True\n",
        "",
    ),
    Mutation(
        "say not written when a connection ends",
        CONNECTION,
        "((True, written), (False, queued))",
        "((False, written), (False, queued))",
    ),
)
MEMORY_AND_ENDS = (
    Mutation(
        "leak the memory of what was sent again",
        ACCUMULATOR,
        "        self.memory.release(batch.charge)\n",
        "        if batch.attempts < 2:\n            self.memory.release(batch.charge)\n",
    ),
    Mutation(
        "release memory twice",
        ACCUMULATOR,
        "            batch.fail(error)\n            self.incomplete.pop(batch, None)\n            return\n",
        "            batch.fail(error)\n            self._forget(batch)\n            return\n",
    ),
    Mutation(
        "forget who waits for memory",
        MEMORY,
        "        if not self._line:\n            return\n",
        "        return\n",
    ),
    Mutation(
        "keep the place of a cancelled caller",
        ADMISSION,
        "        except BaseException:\n            memory.leave(ticket)\n            raise\n",
        "        except BaseException:\n            raise\n",
    ),
    Mutation(
        "wait for memory for ever",
        ADMISSION,
        "            with anyio.CancelScope(deadline=deadline):\n",
        "            with anyio.CancelScope():\n",
    ),
    Mutation(
        "close without ending what is left",
        PRODUCER,
        "        engine.shut(engine.failure or error, refusal=engine.failure or _closed())\n",
        "",
    ),
    Mutation(
        "leave without a limit",
        PRODUCER,
        "            with anyio.move_on_after(self._config.close_timeout, shield=True):\n",
        "            with anyio.CancelScope(shield=True):\n",
    ),
)
HOOKS = (
    Mutation(
        "say nothing to hooks of a caller that was cancelled",
        HOOKED,
        "            delivery = await self._engine.admission.admit(*fields, self._engine.clock())\n"
        "        except BaseException as error:\n",
        "            delivery = await self._engine.admission.admit(*fields, self._engine.clock())\n"
        "        except KafkaError as error:\n",
    ),
    Mutation(
        "say nothing to hooks of what a bulk call could not append",
        HOOKED,
        "            hooks.refused(fields.topic, fields.partition, outcome)\n",
        "",
    ),
    Mutation(
        "close the hooks before they are told of the last record",
        PRODUCER,
        "                    await self._hooked.finish(",
        "                    await self._hooked.hooks.acknowledgements.finish(",
    ),
)
NOT_FOUND = (
    Mutation(
        "close without waiting for those who wait", ENGINE, "        self.admission.records.end(error)\n", ""
    ),
    Mutation(
        "say not written when the producer ends",
        ENGINE,
        "            if batch.on_wire or batch.possibly_written:\n",
        "            if batch.possibly_written:\n",
    ),
    Mutation(
        "divide what may be in the log",
        OUTCOMES,
        "    if batch.possibly_written or batch.record_count == 1:\n",
        "    if batch.record_count == 1:\n",
    ),
    Mutation(
        "wait in flush for the first part alone",
        ENGINE,
        "            while not batch.done:\n",
        "            if not batch.done:\n",
    ),
)
"""Rules that 500 seeds do not reach: unit tests hold them; what comes after the first does the same a moment later."""
ALL = (*NAMED, *NUMBERS, *PARTS, *WAYS, *TRUTH, *MEMORY_AND_ENDS, *HOOKS)
