"""How tasks wait together for one thing, and are woken together, in the terms of the event loop that runs them.

anyio's Event is the same for both loops and costs 2.5 to 4 µs for each task that waits, more than all else that becomes
of a record. Everything else that waits in krafka goes through anyio.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int32_t, int64_t

from krafka._speedups.await_slot cimport PYGEN_ERROR, PYGEN_NEXT, PYGEN_RETURN, Py_INCREF, PySendResult, PyTypeObject

import sys

from anyio.lowlevel import checkpoint, checkpoint_if_cancelled, current_token

cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1


def event_loop():
    """Return the `EventLoop` that runs the caller's task."""
    loop = current_token().native_token
    return AsyncioLoop(loop) if hasattr(loop, "call_soon") else TrioLoop()


async def two_turns():
    """Let those go on who have just been woken: trio runs the tasks of one turn in any order."""
    await checkpoint()
    await checkpoint()


cdef class EventLoop:
    """What the waiting of tasks needs of their event loop.

    `time` is what `anyio.current_time` reads, `checkpoint_if_cancelled` does as anyio's, both without finding out each
    time which loop that is.
    """

    cdef Waiters waiters(self):
        """Return nobody yet, who wait for one thing."""
        raise NotImplementedError

    def between_tasks(self, call, argument):
        """Call `call(argument)` and let the tasks that this wakes go on at once; only where no task is running."""
        raise NotImplementedError

    def reading_place(self, socket, read, is_due):
        """Return a `ReadingPlace` at this socket, or None where tasks that wait are none the faster for it."""
        return None

    cpdef bint may_be_cancelled(self) except -1:
        """Whether the calling task could have been cancelled, so that asking anyio is worth its while.

        Under asyncio False also while nothing but a scope that the task cancelled itself, and has not waited since,
        is in its way.
        """
        raise NotImplementedError


cdef class Awaited:
    """What has an outcome for each of its records; those `waiting` are woken when more of them may be `settled`."""

    cdef bint settled(self, int32_t index) except -1:
        raise NotImplementedError

    cdef Waiters waiting(self):
        raise NotImplementedError

    cdef object outcome(self, int32_t index, int64_t timestamp):
        raise NotImplementedError


cdef class Waiters:
    """Tasks that wait for one thing, which happens once.

    `wait` gives an awaitable iterator that ends with `wake`, or with the cancellation of the task; that of `wait_for`
    not before a record is settled, and with its outcome. Only tasks of the thread that wakes may await it, each its
    own.
    """

    cdef object wait(self):
        raise NotImplementedError

    cdef object wait_for(self, Awaited awaited, int32_t index, int64_t timestamp):
        raise NotImplementedError

    cdef int wake(self) except -1:
        raise NotImplementedError


# -- asyncio ------------------------------------------------------------------------------------------------------


def _raise(error):
    raise error


@cython.final
cdef class AsyncioLoop(EventLoop):
    cdef object loop
    cdef object current_task
    # A future that has ended well.
    cdef object ended
    # Whose tasks go on when the call of `between_tasks` is over; None outside of one.
    cdef list woken

    def __cinit__(self, loop not None):
        from asyncio import BaseEventLoop, current_task, tasks
        from time import monotonic

        self.loop = loop
        # What asyncio's own loops read; one that has its own time is asked for it.
        self.time = monotonic if getattr(type(loop), "time", None) is BaseEventLoop.time else loop.time
        self.checkpoint_if_cancelled = checkpoint_if_cancelled
        self.ended = loop.create_future()
        self.ended.set_result(None)
        # Before Python 3.12 it is a function written in Python around this.
        self.current_task = current_task if sys.version_info >= (3, 12) else tasks._current_tasks.get

    cdef Waiters waiters(self):
        cdef AsyncioWaiters waiters = AsyncioWaiters.__new__(AsyncioWaiters)
        waiters.owner = self
        waiters.waits = []
        return waiters

    def between_tasks(self, call, argument):
        cdef AsyncioWaiters waiters
        self.woken = []
        try:
            call(argument)
        finally:
            woken, self.woken = self.woken, None
            for waiters in woken:
                try:
                    waiters.run()
                except BaseException as error:
                    # A task that ends the program does so by the loop's own way, whoever called.
                    self.loop.call_soon(_raise, error)

    cpdef bint may_be_cancelled(self) except -1:
        # Of a scope that others cancelled asyncio's task knows as soon as anyio does.
        task = self.current_task(self.loop)
        return task is None or task.cancelling() > 0


@cython.final
cdef class AsyncioWaiters(Waiters):
    cdef AsyncioLoop owner

    cdef object wait(self):
        return self.wait_for(None, 0, 0)

    cdef object wait_for(self, Awaited awaited, int32_t index, int64_t timestamp):
        cdef AsyncioWait wait = AsyncioWait.__new__(AsyncioWait)
        wait.awaited = awaited
        wait.index = index
        wait.timestamp = timestamp
        wait.waiters = self
        self.waits.append(wait)
        return wait

    cdef int wake(self) except -1:
        self.woken = True
        if self.waits:
            # One call by the loop for all: each of its own costs as much again as the task's step.
            if self.owner.woken is None:
                self.owner.loop.call_soon(self.run)
            else:
                self.owner.woken.append(self)
        return 0

    def run(self):
        """Let every task go on that waits."""
        cdef AsyncioWait wait
        waits, self.waits = self.waits, []
        waits.reverse()
        try:
            while waits:
                wait = waits.pop()
                if not wait.cancelled and wait.callback is not None:
                    wait.go_on()
        finally:
            # A task that ends the program does not keep the others from being told.
            if waits:
                waits.reverse()
                self.waits = waits
                self.owner.loop.call_soon(self.run)


@cython.freelist(1024)
@cython.final
cdef class AsyncioWait:
    """What a task of asyncio is given to wait for: a future, as far as tasks look at one."""

    cdef Awaited awaited
    cdef int32_t index
    cdef int64_t timestamp
    cdef AsyncioWaiters waiters
    cdef object callback
    cdef object context
    cdef bint cancelled
    cdef object message
    cdef public bint _asyncio_future_blocking

    cdef int go_on(self) except -1:
        callback, context = self.callback, self.context
        self.callback = self.context = None
        # A task looks at nothing but how what woke it ended, and of a real future it need not ask that.
        ended = self.waiters.owner.ended
        if context is None:
            callback(ended)
            return 0
        PyContext_Enter(context)
        try:
            callback(ended)
        finally:
            PyContext_Exit(context)
        return 0

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if not self.is_over():
            return self
        raise StopIteration(self.outcome())

    cdef object outcome(self):
        return None if self.awaited is None else self.awaited.outcome(self.index, self.timestamp)

    cdef bint is_over(self) except -1:
        if self.waiters.woken:
            if self.awaited is None or self.awaited.settled(self.index):
                return True
            self.waiters = <AsyncioWaiters>self.awaited.waiting()
            self.waiters.waits.append(self)
        elif self.callback is not None:
            raise RuntimeError("one task at a time waits here; each asks for a wait of its own")
        self._asyncio_future_blocking = True
        return False

    # By this name, not that of the method `get_loop`, tasks need not call.
    @property
    def _loop(self):
        return self.waiters.owner.loop

    @cython.binding(False)
    def add_done_callback(self, callback, *, context=None):
        self.callback = callback
        self.context = context

    def cancel(self, msg=None):
        """The task is cancelled: it goes on with that, unless it was woken before."""
        if self.cancelled or self.waiters.woken:
            return False
        self.cancelled = True
        self.message = msg
        callback, context = self.callback, self.context
        self.callback = self.context = None
        if callback is not None:
            self.waiters.owner.loop.call_soon(callback, self, context=context)
        return True

    def done(self):
        return self.cancelled or self.waiters.woken

    def result(self):
        if self.cancelled:
            from asyncio import CancelledError

            # By the message anyio knows its own cancellations.
            raise CancelledError if self.message is None else CancelledError(self.message)


cdef PySendResult _send_wait(PyObject* self, PyObject* value, PyObject** result) except PYGEN_ERROR:
    cdef AsyncioWait wait = <AsyncioWait>self
    if not wait.is_over():
        Py_INCREF(self)
        result[0] = self
        return PYGEN_NEXT
    outcome = wait.outcome()
    Py_INCREF(<PyObject*>outcome)
    result[0] = <PyObject*>outcome
    return PYGEN_RETURN


(<PyTypeObject*>AsyncioWait).tp_as_async.am_send = _send_wait


# -- trio ---------------------------------------------------------------------------------------------------------


@cython.final
cdef class TrioLoop(EventLoop):
    cdef object lowlevel
    cdef object closed_error
    cdef unsigned long thread
    # Where the next task that waits for a record may read; None while there is no such place.
    cdef ReadingPlace place

    def __cinit__(self):
        from trio import ClosedResourceError, lowlevel

        self.lowlevel = lowlevel
        self.closed_error = ClosedResourceError
        self.thread = PyThread_get_thread_ident()
        self.time = lowlevel.current_clock().current_time
        self.checkpoint_if_cancelled = lowlevel.checkpoint_if_cancelled

    cdef Waiters waiters(self):
        cdef TrioWaiters waiters = TrioWaiters.__new__(TrioWaiters)
        waiters.owner = self
        waiters.waits = []
        return waiters

    def reading_place(self, socket, read, is_due):
        cdef ReadingPlace place = ReadingPlace.__new__(ReadingPlace)
        place.owner = self
        place.socket = socket
        place.read = read
        place.is_due = is_due
        return place

    cdef TrioWait waits_here(self):
        """Return the wait of the calling task, which `wait_task_rescheduled` is to be given."""
        cdef TrioWait wait = TrioWait.__new__(TrioWait)
        wait.task = self.lowlevel.current_task()
        wait.aborted = self.lowlevel.Abort.SUCCEEDED
        return wait

    cdef int go_on(self, TrioWait wait) except -1:
        if wait.place is not None:
            # It waits for a socket, from which nothing else wakes it.
            self.lowlevel.notify_closing(wait.place.socket)
        elif wait.task is not None:
            self.lowlevel.reschedule(wait.task)
        return 0

    cpdef bint may_be_cancelled(self) except -1:
        # Trio tells the tasks of other threads nothing but that they are none of its own.
        return PyThread_get_thread_ident() == self.thread


@cython.final
cdef class TrioWaiters(Waiters):
    cdef TrioLoop owner

    cdef object wait(self):
        return _until_woken(self)

    cdef object wait_for(self, Awaited awaited, int32_t index, int64_t timestamp):
        return _until_settled(awaited, index, timestamp)

    cdef object next(self):
        """Return what the calling task awaits at once."""
        cdef TrioWait wait = self.owner.waits_here()
        self.waits.append(wait)
        return self.owner.lowlevel.wait_task_rescheduled(wait)

    cdef int wake(self) except -1:
        cdef TrioWait wait
        self.woken = True
        waits, self.waits = self.waits, []
        for wait in waits:
            self.owner.go_on(wait)
        return 0


@cython.final
cdef class TrioWait:
    """A task of trio that waits; what trio calls to cancel it."""

    cdef object task
    cdef object aborted
    # The place it has while it waits for a socket.
    cdef ReadingPlace place

    def __call__(self, raise_cancel):
        self.task = None
        return self.aborted


def _until_settled(Awaited awaited, int32_t index, int64_t timestamp):
    cdef TrioWaiters waiters
    cdef ReadingPlace place
    while not awaited.settled(index):
        waiters = <TrioWaiters>awaited.waiting()
        place = waiters.owner.place
        if place is not None and not place.taken and place.is_due():
            yield from _reading(waiters, place)
        else:
            yield from waiters.next().__await__()
    return awaited.outcome(index, timestamp)


async def _until_woken(TrioWaiters waiters):
    if not waiters.woken:
        await waiters.next()


def _reading(TrioWaiters waiters, ReadingPlace place):
    """Have the place until its socket is readable, and read; or until woken by something else."""
    cdef TrioWait wait = TrioWait.__new__(TrioWait)
    wait.place = place
    waiters.waits.append(wait)
    place.taken = True
    try:
        yield from place.owner.lowlevel.wait_readable(place.socket).__await__()
        # What it reads may wake it, and need not any more.
        wait.place = None
        if not place.read():
            place.withdraw()
    except place.owner.closed_error:
        pass  # Called back, or the reader closed the socket: what it waits for tells.
    finally:
        wait.place = None
        if not waiters.woken:
            waiters.waits.remove(wait)
        place.give_back()


@cython.final
cdef class ReadingPlace:
    """Where a socket's reader lets a task read that waits for what comes next, while the reader itself waits.

    A task that is woken by one that reads goes on a turn of the event loop later than one that reads for itself, and a
    turn of trio's is a tenth of what a record takes that is sent by itself. `read` is called in whatever task has the
    place, where it must not wait or raise; it returns False when only the reader can go on. `is_due` tells whether
    anything is to come.
    """

    cdef TrioLoop owner
    cdef object socket
    cdef object read
    cdef object is_due
    cdef bint taken
    cdef TrioWait reader

    async def offer(self):
        """Let those have the place who want it at once, and others after them; return when nobody has it."""
        self.owner.place = self
        try:
            await two_turns()
            while self.taken:
                self.reader = self.owner.waits_here()
                await self.owner.lowlevel.wait_task_rescheduled(self.reader)
        finally:
            self.reader = None
            self.withdraw()

    cdef int withdraw(self) except -1:
        if self.owner.place is self:
            self.owner.place = None
        return 0

    cdef int give_back(self) except -1:
        reader, self.reader = self.reader, None
        self.taken = False
        if reader is not None:
            self.owner.go_on(reader)
        return 0
