"""Dates and times in French, wherever Django formats them; times are as `portal.base.words` writes them."""

DATE_FORMAT = "j F Y"
DATETIME_FORMAT = "Y-m-d H:i:s T"
TIME_FORMAT = "H:i"
MONTH_DAY_FORMAT = "j F"
YEAR_MONTH_FORMAT = "F Y"
SHORT_DATE_FORMAT = "Y-m-d"
SHORT_DATETIME_FORMAT = "Y-m-d H:i"
