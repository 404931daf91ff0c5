"""`send` of one record: its coroutine, written out as an object, and the function that gives one for each call.

What a compiler makes of an `async def` is three objects for each call, and its await a fourth; this is one. It shows
where tasks wait for their records in great number.
"""

cimport cython
from cpython.object cimport PyObject

from krafka._speedups.await_slot cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    PyIter_Send,
    PyObject_Vectorcall,
    PySendResult,
    PyTypeObject,
    Py_TPFLAGS_HAVE_VECTORCALL,
    Py_XDECREF,
    vectorcallfunc,
)
from krafka._speedups.delivery cimport Delivery

import warnings

from krafka.errors import BufferFullError, MetadataNotReadyError

cdef enum:
    ENDED
    CREATED
    # Its awaited then is what looks for a cancellation, what waits for room, what waits for the outcome.
    CHECKING
    ADMITTING
    WAITING


cdef class SendSteps:
    """What a `send` is made of: `append` puts a record into its batch or tells by BufferFullError or
    MetadataNotReadyError that it has to wait, and then `admit` gives the coroutine that waits and appends it.
    """

    def __init__(self, EventLoop loop not None):
        self.loop = loop

    cpdef append(self, topic, value, key, headers, partition, timestamp):
        raise NotImplementedError

    cpdef admit(self, topic, value, key, headers, partition, timestamp):
        raise NotImplementedError

    @cython.binding(False)
    def send(self, topic, value=None, *, key=None, headers=None, partition=None, timestamp=None):
        """See `Producer.send`."""
        cdef Sending sending = Sending.__new__(Sending)
        sending.steps = self
        sending.topic = topic
        sending.value = value
        sending.key = key
        sending.headers = headers
        sending.partition = partition
        sending.timestamp = timestamp
        sending.stage = CREATED
        return sending


# As many go and come at once as there are tasks that wait.
@cython.freelist(1024)
@cython.final
cdef class Sending:
    """The coroutine of one `send`: nothing happens before it is awaited, and it is awaited once."""

    cdef SendSteps steps
    cdef object topic
    cdef object value
    cdef object key
    cdef object headers
    cdef object partition
    cdef object timestamp
    # What it waits for at its stage, run as an await runs it.
    cdef object awaited
    cdef int stage

    def __dealloc__(self):
        if self.stage == CREATED:
            warnings.warn("coroutine 'Producer.send' was never awaited", RuntimeWarning, stacklevel=1)

    def __await__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, given):
        """Go on until it has to wait for something; StopIteration has the outcome."""
        cdef PyObject* result = NULL
        cdef PySendResult came = self.go_on(<PyObject*>given, &result)
        return self.give_back(came, result)

    def throw(self, kind, error=None, traceback=None):
        """Go on with an error that came of what it waits for, as a cancellation does."""
        cdef int stage = self.stage
        cdef PyObject* result = NULL
        if error is None:
            error = kind() if isinstance(kind, type) else kind
        if traceback is not None:
            error = error.with_traceback(traceback)
        self.stage = ENDED
        if stage < CHECKING or not hasattr(self.awaited, "throw"):
            raise error
        try:
            waits_for = self.awaited.throw(error)
        except StopIteration as end:
            outcome = end.value
        else:
            self.stage = stage
            return waits_for
        if stage == WAITING:
            raise StopIteration(outcome)
        stage = self.next_stage(stage, outcome)
        return self.give_back(self.go_through(stage, <PyObject*>None, &result), result)

    def close(self):
        """End it, without an outcome."""
        cdef int stage = self.stage
        self.stage = ENDED
        if stage >= CHECKING and hasattr(self.awaited, "close"):
            self.awaited.close()

    cdef object give_back(self, PySendResult came, PyObject* result):
        value = <object>result
        Py_XDECREF(result)
        if came == PYGEN_RETURN:
            raise StopIteration(value)
        return value

    cdef PySendResult go_on(self, PyObject* given, PyObject** result) except PYGEN_ERROR:
        cdef int stage = self.stage
        # Until it waits again: whatever is raised meanwhile ends it.
        self.stage = ENDED
        if stage == ENDED:
            raise RuntimeError("cannot reuse already awaited coroutine")
        if stage == CREATED:
            if <object>given is not None:
                raise TypeError("can't send non-None value to a just-started coroutine")
            if self.steps.loop.may_be_cancelled():
                self.awaited = self.steps.loop.checkpoint_if_cancelled()
                stage = CHECKING
            else:
                stage = self.next_stage(CHECKING, None)
        return self.go_through(stage, given, result)

    cdef PySendResult go_through(self, int stage, PyObject* given, PyObject** result) except PYGEN_ERROR:
        cdef PySendResult came
        while True:
            came = PyIter_Send(self.awaited, given, result)
            if came == PYGEN_NEXT:
                self.stage = stage
                return came
            if stage == WAITING:
                return came
            outcome = <object>result[0]
            Py_XDECREF(result[0])
            result[0] = NULL
            stage = self.next_stage(stage, outcome)
            given = <PyObject*>None

    cdef int next_stage(self, int stage, object outcome) except -1:
        cdef Delivery delivery = None
        if stage == ADMITTING:
            delivery = <Delivery?>outcome
        else:
            try:
                delivery = self.steps.append(
                    self.topic, self.value, self.key, self.headers, self.partition, self.timestamp
                )
            except (BufferFullError, MetadataNotReadyError):
                pass  # What comes of the wait is an error of its own, not one of handling these.
        if delivery is None:
            self.awaited = self.steps.admit(
                self.topic, self.value, self.key, self.headers, self.partition, self.timestamp
            )
            return ADMITTING
        self.awaited = delivery.waiting()
        return WAITING

    # What asyncio, trio and inspect ask of a coroutine.

    @property
    def cr_await(self):
        return self.awaited if self.stage >= CHECKING else None

    @property
    def cr_frame(self):
        return None

    @property
    def cr_running(self):
        return False

    @property
    def cr_suspended(self):
        return self.stage >= CHECKING

    __name__ = "send"
    __qualname__ = "Producer.send"


cdef PySendResult _go_on(PyObject* self, PyObject* given, PyObject** result) except PYGEN_ERROR:
    return (<Sending>self).go_on(given, result)


(<PyTypeObject*>Sending).tp_as_async.am_send = _go_on


@cython.final
cdef class SendVerb:
    """`send` of some steps, to be called as often as there are records.

    For those who look at it, such as frameworks that give to threads whatever is no coroutine function, it is the
    function it is `described` by.
    """

    cdef vectorcallfunc vectorcall
    cdef object send
    cdef object described

    def __cinit__(self, SendSteps steps not None, described not None):
        self.vectorcall = _call
        self.send = steps.send
        self.described = described

    def __call__(self, *args, **kwargs):
        return self.send(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self.described, name)

    @property
    def __wrapped__(self):
        return self.described

    @property
    def __doc__(self):
        return self.described.__doc__

    @property
    def __module__(self):
        return self.described.__module__

    def __repr__(self):
        return repr(self.described)


cdef object _call(PyObject* self, PyObject* const* args, size_t count, PyObject* names):
    return PyObject_Vectorcall((<SendVerb>self).send, args, count, names)


# A call that goes by `__call__` makes a tuple and a dict of its arguments first.
cdef SendVerb _any_verb = SendVerb(SendSteps.__new__(SendSteps), object)
(<PyTypeObject*>SendVerb).tp_vectorcall_offset = <char*>&_any_verb.vectorcall - <char*><PyObject*>_any_verb
(<PyTypeObject*>SendVerb).tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL
_any_verb = None
