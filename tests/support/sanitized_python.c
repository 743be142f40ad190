/* A Python interpreter that AddressSanitizer is linked into, for the extension that was built with it: one has to be
 * there before everything else. Preloading would do too, but goes on to every program that a test starts, and is lost
 * where one is started with an environment of its own.
 */
#include <Python.h>

/* Interpreters leak at their end; and that a process died by a signal is for its parent to see. */
const char *__asan_default_options(void) {
    return "detect_leaks=0:handle_segv=0:handle_sigbus=0";
}

int main(int count, char **arguments) {
    return Py_BytesMain(count, arguments);
}
