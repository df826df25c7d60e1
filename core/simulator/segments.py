"""Who is in a simulated fleet: one segment per communication plan.

Shares and laws are made up within the ranges that real fleets show: 10 to 50 % of the SIMs use
nothing, medians lie between 3 MB (trackers) and 250 MB (video), and 0.5 to 4 % use vastly more.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """SIMs of one communication plan: how much they use and how their plans were chosen."""

    communication_plan: str
    share: float
    zero_share: float
    median_mb: float
    sigma: float
    tail_share: float
    default_plan: str
    iccid_digits: int = 20
    recent_share: float = 0.01  # activated in the current cycle
    legacy_share: float = 0.0
    sms_mean: float = 1.0
    voice_mean_seconds: float = 0.0


SEGMENTS = (
    Segment(
        communication_plan="Telemetry East", share=0.30, zero_share=0.30, median_mb=6.0, sigma=1.5,
        tail_share=0.012, default_plan="FLEX-50MB",
    ),
    Segment(
        communication_plan="Telemetry West", share=0.22, zero_share=0.20, median_mb=10.0, sigma=1.4,
        tail_share=0.008, default_plan="FLEX-100MB",
    ),
    Segment(
        communication_plan="Point of Sale", share=0.20, zero_share=0.10, median_mb=14.0, sigma=1.1,
        tail_share=0.005, default_plan="METER-100MB", legacy_share=0.03, sms_mean=8.0,
        voice_mean_seconds=40.0,
    ),
    Segment(
        communication_plan="Asset Tracking", share=0.14, zero_share=0.25, median_mb=3.0, sigma=1.3,
        tail_share=0.02, default_plan="SOLO-25MB", iccid_digits=19, sms_mean=3.0,
    ),
    Segment(
        communication_plan="Video Gateway", share=0.06, zero_share=0.12, median_mb=250.0, sigma=1.2,
        tail_share=0.04, default_plan="SHARE-1GB",
    ),
    Segment(
        communication_plan="Trial Kits", share=0.08, zero_share=0.50, median_mb=8.0, sigma=1.8,
        tail_share=0.02, default_plan="START-200MB", recent_share=0.20,
    ),
)  # fmt: skip
"""Every segment; the shares add up to 1."""
