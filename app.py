"""Entry point: `streamlit run app.py [-- --checkpoints DIR --data SPEC ...]`.

The pages and the live routes share one process, so that a frame is answered without a script rerun.
"""

import streamlit as st

from pages.widgets.guard import failed
from pages.widgets.routes import live_routes
from pages.widgets.server import check_arguments, middleware

check_arguments()
app = st.App("pages/main.py", routes=live_routes(), middleware=middleware(), exception_handlers={Exception: failed})
