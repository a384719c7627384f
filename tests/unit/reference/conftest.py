from tests.unit.metrics.conftest import stub as stub
