"""Running networks: flat-buffer parameters, one worker per device, frames, measurements, recalibration."""
