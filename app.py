"""Entry point: `streamlit run app.py [-- --checkpoints DIR --data SPEC ...]`.

The pages and the live routes share one process, so that a frame is answered without a script rerun.
"""

import streamlit as st
from starlette.middleware import Middleware

from pages.widgets.arriving import ArrivesInTime, limit_heads
from pages.widgets.routes import live_routes
from pages.widgets.server import check_arguments

check_arguments()
limit_heads()
app = st.App("pages/main.py", routes=live_routes(), middleware=[Middleware(ArrivesInTime)])
