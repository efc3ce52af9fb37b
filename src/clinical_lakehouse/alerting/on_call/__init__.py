"""Who is on call: schedules as data, shifts as a pure function of them, calendars in and out."""
