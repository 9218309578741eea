"""``python -m fake_tink_server``"""

from __future__ import annotations

from fake_tink_server.cli import main

raise SystemExit(main())
