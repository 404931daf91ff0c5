"""Turns a message class's schema table into one plan per version, when the version is first met."""

from cpython.object cimport PyObject, PyTypeObject

from dataclasses import MISSING, fields

cdef extern from "Python.h":
    bint PyObject_TypeCheck(object value, PyTypeObject* type)

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member
    PyTypeObject PyMemberDescr_Type

# The kind, and the fewest bytes a value takes in versions with plain lengths and in those with compact ones.
cdef dict _KINDS = {
    "bool": (KIND_BOOL, 1, 1),
    "int8": (KIND_INT8, 1, 1),
    "int16": (KIND_INT16, 2, 2),
    "uint16": (KIND_UINT16, 2, 2),
    "int32": (KIND_INT32, 4, 4),
    "uint32": (KIND_UINT32, 4, 4),
    "int64": (KIND_INT64, 8, 8),
    "float64": (KIND_FLOAT64, 8, 8),
    "uuid": (KIND_UUID, 16, 16),
    "string": (KIND_STRING, 2, 1),
    "bytes": (KIND_BYTES, 4, 1),
    "records": (KIND_RECORDS, 4, 1),
}

cdef dict _plans = {}  # message class -> its plans, by version less MIN_VERSION


cdef StructPlan plan_for(object cls, int version):
    cdef list plans = <list> _plans.get(cls)
    cdef int first
    if plans is None:
        plans = _plans.setdefault(cls, [None] * (cls.MAX_VERSION - cls.MIN_VERSION + 1))
    first = cls.MIN_VERSION
    if not first <= version < first + len(plans):
        raise ValueError(f"{cls.__name__} has no version {version}: it speaks {first} to {cls.MAX_VERSION}")
    plan = plans[version - first]
    if plan is None:
        plan = plans[version - first] = message_plan(cls, version)
    return <StructPlan> plan


cdef StructPlan message_plan(object cls, int version):
    cdef bint flexible = cls.FLEXIBLE_FROM is not None and version >= cls.FLEXIBLE_FROM
    name = cls.__name__
    for ending in ("Request", "Response"):
        if name.endswith(ending):
            name = f"{name.removesuffix(ending)} {ending.lower()}"
    plan = struct_plan(cls, version, flexible)
    plan.label = f"{name} v{version}"
    plan.api_key = cls.API_KEY
    return plan


cdef StructPlan struct_plan(object cls, int version, bint flexible):
    cdef StructPlan plan = StructPlan.__new__(StructPlan)
    cdef FieldPlan field
    attributes = {attribute.name: attribute for attribute in fields(cls)}
    if list(attributes) != [spec.name for spec in cls.SCHEMA]:
        raise TypeError(f"{cls.__name__}: SCHEMA and the dataclass do not list the same fields")
    plan.cls = cls
    plan.type = <PyTypeObject*> <PyObject*> cls
    plan.label = cls.__name__
    plan.api_key = -1
    plan.version = version
    plan.flexible = flexible
    plan.min_size = 1 if flexible else 0
    plan.present, plan.tagged, plan.absent, plan.refused = [], [], [], []
    for spec in cls.SCHEMA:
        field = field_plan(cls, spec, attributes[spec.name], version, flexible)
        if not within(version, spec.versions):
            plan.absent.append(field)
            if not field.ignorable:
                plan.refused.append(field)
        elif field.array and field.item_size == 0:
            # Elements of no bytes would let a few bytes ask for an array of any length.
            raise TypeError(f"{cls.__name__}.{spec.name} v{version}: an array of structs without fields")
        elif within(version, spec.tagged):
            plan.tagged.append(field)
        else:
            plan.present.append(field)
            plan.min_size += (1 if flexible else 4) if field.array else field.item_size
    plan.tagged.sort(key=tag_of)
    if len(plan.tagged) > 127 or (plan.tagged and not flexible):
        raise TypeError(f"{cls.__name__} v{version}: tagged fields need a flexible version; at most 127 fit")
    return plan


cdef FieldPlan field_plan(object cls, object spec, object attribute, int version, bint flexible):
    cdef FieldPlan field = FieldPlan.__new__(FieldPlan)
    cdef Py_ssize_t plain, compact
    field.name = spec.name
    field.array = spec.array
    field.flexible = flexible
    field.ignorable = spec.ignorable
    field.nullable = within(version, spec.nullable)
    field.tag = 0 if spec.tag is None else spec.tag
    field.offset = slot_offset(cls, spec.name)
    if isinstance(spec.type, str):
        field.kind, plain, compact = _KINDS[spec.type]
        field.item_size = compact if flexible else plain
    else:
        field.kind = KIND_STRUCT
        field.plan = struct_plan(spec.type, version, flexible)
        field.item_size = 1 if field.nullable and not field.array else field.plan.min_size
    set_default(field, attribute)
    return field


cdef int set_default(FieldPlan field, object attribute) except -1:
    if attribute.default is not MISSING:
        field.default_kind = DEFAULT_SHARED
        field.default = attribute.default
    elif field.array:
        field.default_kind = DEFAULT_LIST
        field.default = []
    else:
        field.default_kind = DEFAULT_STRUCT
        field.default = attribute.default_factory()
    return 0


cdef bint within(int version, object versions) except -1:
    return versions is not None and versions[0] <= version <= versions[1]


def tag_of(FieldPlan field):
    return field.tag


cdef Py_ssize_t slot_offset(object cls, str name) except -1:
    """Where the attribute's pointer lies within an instance."""
    descriptor = cls.__dict__.get(name)
    if not PyObject_TypeCheck(descriptor, &PyMemberDescr_Type):
        raise TypeError(f"{cls.__name__}.{name} is not a slot: the class needs dataclass(slots=True)")
    return (<PyMemberDescrObject*> <PyObject*> descriptor).d_member.offset


cdef str trail_path(Trail* trail):
    """The dotted path to where the codec is: "topics[3].partitions[17].leader_id"."""
    cdef list names = []
    if trail == NULL:
        return "the header"
    while trail != NULL:
        name = "tagged_fields" if trail.field == NULL else (<FieldPlan> trail.field).name
        names.append(name if trail.index < 0 else f"{name}[{trail.index}]")
        trail = trail.outer
    names.reverse()
    return ".".join(names)
