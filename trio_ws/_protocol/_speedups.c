/* Masking (RFC 6455 section 5.3) in C. _mask.py has the same function in Python, and chooses.
 *
 * The module is optional: whoever has no compiler gets the one in Python. It keeps to the limited
 * API, so that one binary serves every Python from 3.11 (when the buffer protocol joined that API).
 *
 * The GIL is kept: a mebibyte takes less than 0.1 ms, and who gives the GIL away for that may wait
 * for 5 ms, the switch interval, until another thread gives it back.
 */

#define Py_LIMITED_API 0x030b0000
#include <pyconfig.h>
#ifdef Py_GIL_DISABLED /* The free-threaded build has no limited API. */
#undef Py_LIMITED_API
#endif
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define KEY_SIZE 4

/* Write the XOR of `in` and the key to `out`; `pad` is the key twice, beginning with the octet that
 * meets in[0].
 *
 * Both may start at any address. memcpy is how C reads a word there, and in the machine's order of
 * octets; compilers make one instruction of it, and vectors of the words of a block.
 */
static void
xor_octets(unsigned char *out, const unsigned char *in, size_t size, const unsigned char pad[8])
{
    uint64_t block[8], word;
    size_t i;

    memcpy(&word, pad, sizeof word);
    for (; size >= sizeof block; size -= sizeof block) {
        memcpy(block, in, sizeof block);
        for (i = 0; i < 8; i++) {
            block[i] ^= word;
        }
        memcpy(out, block, sizeof block);
        in += sizeof block;
        out += sizeof block;
    }
    for (; size >= sizeof word; size -= sizeof word) {
        memcpy(block, in, sizeof word);
        block[0] ^= word;
        memcpy(out, block, sizeof word);
        in += sizeof word;
        out += sizeof word;
    }
    for (i = 0; i < size; i++) {
        out[i] = in[i] ^ pad[i];
    }
}

/* Fill `pad` with the key twice, rotated by the offset. Return -1 with an exception set if the key
 * has not 4 bytes, or if an argument has a wrong type.
 */
static int
read_key(PyObject *key, PyObject *offset, unsigned char pad[8])
{
    Py_buffer view;
    unsigned long shift = 0;
    size_t i;

    if (offset != NULL) {
        /* Only the two lowest bits count, so what is too large or negative is right as well. */
        shift = PyLong_AsUnsignedLongMask(offset);
        if (shift == (unsigned long)-1 && PyErr_Occurred()) {
            return -1;
        }
    }
    if (PyObject_GetBuffer(key, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    if (view.len != KEY_SIZE) {
        PyErr_Format(PyExc_ValueError, "key: %zd bytes instead of 4", view.len);
        PyBuffer_Release(&view);
        return -1;
    }
    for (i = 0; i < 8; i++) {
        pad[i] = ((const unsigned char *)view.buf)[(shift + i) % KEY_SIZE];
    }
    PyBuffer_Release(&view);
    return 0;
}

PyDoc_STRVAR(mask_doc,
"mask($module, data, key, offset=0, /)\n--\n\n"
"XOR `data` with the 4 bytes of `key`, as the function in _mask.py does.");

static PyObject *
mask(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    Py_buffer data;
    PyObject *masked;
    unsigned char pad[2 * KEY_SIZE];

    if (count < 2 || count > 3) {
        PyErr_Format(PyExc_TypeError, "mask() takes 2 or 3 arguments (%zd given)", count);
        return NULL;
    }
    if (read_key(args[1], count == 3 ? args[2] : NULL, pad) < 0
        || PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    masked = PyBytes_FromStringAndSize(NULL, data.len);
    if (masked != NULL) {
        unsigned char *out = (unsigned char *)PyBytes_AsString(masked);
        xor_octets(out, data.buf, (size_t)data.len, pad);
    }
    PyBuffer_Release(&data);
    return masked;
}

static PyMethodDef methods[] = {
    {"mask", (PyCFunction)(void (*)(void))mask, METH_FASTCALL, mask_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_speedups",
    .m_doc = "The parts of the protocol that are worth a compiler.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
