"""Rules of transactions, each with an edit of the sources that breaks it; the simulation has to find every one."""

from __future__ import annotations

from tests.simulation.mutations import Mutation

TRANSACTOR = "krafka/_io/transactor.py"
COORDINATOR = "krafka/_io/coordinator.py"
OPEN = "krafka/_state/open_transaction.py"
TABLE = "krafka/_state/transaction_table.py"
SEQUENCES = "krafka/_state/sequences.py"

EPOCHS = (
    Mutation(
        "keep the epoch after a request in doubt",
        TRANSACTOR,
        "                if self._needs_epoch or self._coordinators.in_doubt:\n",
        "                if self._needs_epoch:\n",
    ),
    Mutation(
        "keep the epoch after a record that failed",
        TRANSACTOR,
        "        if batch.base_sequence != NONE:\n            self._needs_epoch = True\n",
        "",
    ),
    Mutation(
        "clear the doubt with every answer to an end",
        TRANSACTOR,
        "        if response.producer_id >= 0:\n",
        "        self._coordinators.in_doubt = False\n        if response.producer_id >= 0:\n",
    ),
    Mutation(
        "go on under the old epoch after the second kind of end",
        TRANSACTOR,
        "            self._engine.take_identity(response.producer_id, response.producer_epoch)\n"
        "            self._requests.learn_version(connection)\n",
        "            self._requests.learn_version(connection)\n",
    ),
    Mutation(
        "abort by its own epoch what may not have begun",
        TRANSACTOR,
        "                    if commit or self._open.is_begun(self.version):\n",
        "                    if True:\n",
    ),
)
WHOLE = (
    Mutation(
        "commit although a record failed",
        TRANSACTOR,
        "            self._needs_epoch = True\n        self.fail(error)\n",
        "            self._needs_epoch = True\n",
    ),
    Mutation(
        "commit although a record was refused",
        TRANSACTOR,
        "        if not isinstance(error, NO_PART_OF_IT):\n            self.fail(error)\n",
        "        return\n",
    ),
    Mutation(
        "fail a commit by a record that came out of turn",
        TRANSACTOR,
        "        if not isinstance(error, NO_PART_OF_IT):\n            self.fail(error)\n",
        "        self.fail(error)\n",
    ),
    Mutation(
        "commit without waiting for the records",
        TRANSACTOR,
        "                await self._engine.admission.records.wait_until_empty()\n"
        "                await self._engine.flush()\n"
        "                if self.table",
        "                if self.table",
    ),
    Mutation(
        "take records while a commit is under way",
        TRANSACTOR,
        "            self.table.swap(TransactionState.IN_TRANSACTION, TransactionState.COMMITTING)\n"
        "            self._refuse()\n",
        "            self.table.swap(TransactionState.IN_TRANSACTION, TransactionState.COMMITTING)\n",
    ),
    Mutation(
        "commit although offsets were not taken in time",
        TRANSACTOR,
        "            self.fail(timeout)\n            raise timeout\n",
        "            raise timeout\n",
    ),
    Mutation(
        "commit although offsets failed meanwhile",
        TRANSACTOR,
        "            if self.table.state is not state:\n",
        "            if False:\n",
    ),
    Mutation(
        "abort without waiting for what is on the wire",
        TRANSACTOR,
        "                if not self._accumulator.incomplete:\n                    break\n",
        "                break\n",
    ),
    Mutation(
        "keep what was not sent when a transaction is aborted",
        TRANSACTOR,
        "                self._drop(only_stuck=False)\n                if not self._accumulator.incomplete:\n",
        "                if True:\n",
    ),
)
ENROLMENT = (
    Mutation(
        "send to a partition before it takes part",
        SEQUENCES,
        "        if self.transactional and not partition.enrolled:\n            return False\n",
        "",
    ),
    Mutation(
        "never end the taking part of a partition",
        OPEN,
        "            partition.enrolled = False\n",
        "            pass\n",
    ),
    Mutation(
        "forget a partition that was added in doubt",
        TRANSACTOR,
        "                self._open.maybe_started = self._open.maybe_started or self._coordinators.may_be_done\n",
        "                pass\n",
    ),
    Mutation(
        "forget offsets that were sent in doubt",
        TRANSACTOR,
        "                        self._open.maybe_started = True\n",
        "",
    ),
)
TRUTH = (
    Mutation(
        "call a commit in doubt an open transaction",
        TRANSACTOR,
        "                if not self._open.end_asked:\n",
        "                if True:\n",
    ),
    Mutation(
        "allow an abort while a commit is in doubt",
        TABLE,
        '        "abort_transaction": frozenset({_IN_TRANSACTION, _ABORTABLE, _ABORTING}),\n',
        '        "abort_transaction": frozenset({_IN_TRANSACTION, _ABORTABLE, _ABORTING, _COMMITTING}),\n',
    ),
    Mutation(
        "believe a coordinator that is not sure",
        COORDINATOR,
        "                if isinstance(told, _MAYBE_DONE):\n",
        "                if False:\n",
    ),
    Mutation(
        "forget that a commit was asked for",
        TRANSACTOR,
        "            self._open.end_asked = self._open.end_asked or self._coordinators.may_be_done\n",
        "            pass\n",
    ),
    Mutation(
        "say not written of a commit in doubt",
        TRANSACTOR,
        "                error.possibly_written = True\n",
        "                pass\n",
    ),
    Mutation(
        "call passing what ends the producer",
        TRANSACTOR,
        "        refused.error.is_fatal = refused.effect is Effect.FATAL\n",
        "",
    ),
)
ENDS = (
    Mutation("leave calls behind when the producer ends", TRANSACTOR, "        self._calls.end(error)\n", ""),
    Mutation(
        "close over a call that is under way",
        TRANSACTOR,
        "        while self.table.running is not None:\n",
        "        while False:\n",
    ),
    Mutation(
        "wait for a coordinator for ever",
        TRANSACTOR,
        "        with anyio.move_on_after(config.max_block):\n",
        "        with anyio.CancelScope():\n",
    ),
    Mutation(
        "leave the open transaction at the close",
        TRANSACTOR,
        "            try:\n                await self.abort()\n",
        "            try:\n                pass\n",
    ),
    Mutation(
        "leave a shielded commit behind when the producer ends",
        TRANSACTOR,
        "            self._shield.cancel()\n",
        "            pass\n",
    ),
    Mutation(
        "give up where nobody knows the coordinator yet",
        COORDINATOR,
        "                if effect not in {Effect.RETRY, Effect.FIND_AND_RETRY}:\n"
        "                    raise RefusedError",
        "                if effect is not Effect.RETRY:\n                    raise RefusedError",
    ),
)
ALL = (*EPOCHS, *WHOLE, *ENROLMENT, *TRUTH, *ENDS)
NAMED = tuple(each for each in ALL if each.name == "commit although a record failed")
"""Those that the tests hunt; `python -m tests.simulation.mutants --transactions` hunts all."""
