"""Whether schedules and sensors run without being switched on: WAREHOUSE_SCHEDULES_RUN."""

from __future__ import annotations

import dagster as dg

from warehouse.settings import settings

SCHEDULE_STATUS = (
    dg.DefaultScheduleStatus.RUNNING
    if settings().schedules_run
    else dg.DefaultScheduleStatus.STOPPED
)
SENSOR_STATUS = (
    dg.DefaultSensorStatus.RUNNING if settings().schedules_run else dg.DefaultSensorStatus.STOPPED
)
