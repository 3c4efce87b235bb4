"""Streamlit pages: widgets and layout; what they show comes from `fusionlib.studio`."""
