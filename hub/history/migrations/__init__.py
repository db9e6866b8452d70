"""Alembic's side: the steps by which databases of earlier versions become the present one."""
