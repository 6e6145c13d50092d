"""Accumulators: samples in, averages out; the same for a running simulation and for a stored trajectory.

An accumulator adds samples, merges with others, and can be saved and continued. Sums are exact, so that a result has
the same bits however the samples are divided over ranks and in whatever order the parts are merged.
"""

from allegro_md.accumulators.base import Accumulator as Accumulator
from allegro_md.accumulators.base import reduced as reduced
from allegro_md.accumulators.correlator import Correlation as Correlation
from allegro_md.accumulators.correlator import Correlator as Correlator
from allegro_md.accumulators.histogram import Histogram as Histogram
from allegro_md.accumulators.mean import Estimate as Estimate
from allegro_md.accumulators.mean import Mean as Mean
from allegro_md.accumulators.total import Total as Total
