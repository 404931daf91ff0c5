"""Values that are there before they are asked for, so that a bulk send can look at many of them at once."""

cimport cython
from cpython.object cimport PyObject


@cython.final
cdef class ListedValues:
    """Iterates over a list or a tuple as its own iterator does, and shows what is left."""

    def __cinit__(self, source not None):
        if type(source) is not list and type(source) is not tuple:
            raise TypeError(f"a list or a tuple is listed, not {type(source).__name__}")
        self.source = source

    def __iter__(self):
        return self

    def __next__(self):
        if self.left() <= 0:
            raise StopIteration
        value = self.source[self.at]
        self.at += 1
        return value

    cdef Py_ssize_t left(self) except? -1:
        return len(self.source) - self.at

    cdef PyObject** items(self) noexcept:
        """What is left; only until Python runs again, which may change a list."""
        return PySequence_Fast_ITEMS(self.source) + self.at
