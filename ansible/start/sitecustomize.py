"""Read by Python before `ansible-playbook` begins; the control plane names this folder in PYTHONPATH.

A run lives for seconds and loads hundreds of thousands of objects, of which nearly all stay until its end. Looking for cycles among
them, while they are loaded and once more at the very end, costs a third of its own time. A long run, such as a whole
provisioning, still collects.
"""

import atexit
import gc

gc.set_threshold(500_000, 10, 10)
atexit.register(gc.freeze)
