"""Optimisers, gradient clipping and learning-rate schedules, with PyTorch's names, defaults and update rules."""

from .clip import clip_grad_norm_ as clip_grad_norm_
from .optimizers import SGD as SGD
from .optimizers import Adagrad as Adagrad
from .optimizers import Adam as Adam
from .optimizers import AdamW as AdamW
from .optimizers import Optimizer as Optimizer
from .optimizers import RMSprop as RMSprop
from .schedules import CosineAnnealingLR as CosineAnnealingLR
from .schedules import ExponentialLR as ExponentialLR
from .schedules import LinearLR as LinearLR
from .schedules import ReduceLROnPlateau as ReduceLROnPlateau
from .schedules import Schedule as Schedule
from .schedules import StepLR as StepLR
