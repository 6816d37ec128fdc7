"""Studies: one base of settings, its variants x children x seeds, run to their ends and compared.

``study.py`` begins it: what a file says (``study_file.py``), each run's settings and place (``plan.py``, ``place.py``),
runs side by side (``schedule.py``) in processes of their own (``one_run.py``), what they came to (``results.py``), how
they compare (``compare.py``, ``statistics.py``), and what is written of it (``report.py``, ``picture.py``).
"""
