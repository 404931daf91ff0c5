# The slot of a type by which an await takes a value without a StopIteration around it, which costs more than everything
# else about an await: CPython's since 3.10, for which Cython has no name.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    ctypedef PySendResult (*sendfunc)(PyObject*, PyObject*, PyObject**) except PYGEN_ERROR

    ctypedef struct PyAsyncMethods:
        sendfunc am_send

    ctypedef object (*vectorcallfunc)(PyObject*, PyObject* const*, size_t, PyObject*)

    ctypedef struct PyTypeObject:
        PyAsyncMethods* tp_as_async
        Py_ssize_t tp_vectorcall_offset
        unsigned long tp_flags

    unsigned long Py_TPFLAGS_HAVE_VECTORCALL
    PySendResult PyIter_Send(object, PyObject*, PyObject**) except PYGEN_ERROR
    object PyObject_Vectorcall(object, PyObject* const*, size_t, PyObject*)
    void Py_INCREF(PyObject*)
    void Py_XDECREF(PyObject*)
