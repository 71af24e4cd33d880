"""Settings of one run. Plain values only: importing this file does nothing else.

Each name is also an option of every script: `--crop_size=128` takes precedence over the value here.
None = the value that the data set recommends, or else the one named in the comment.
"""

# Data
dataset_name: str = "Demo"  # a published data set, or a folder in shortcut_path
shortcut_path: str = "data"  # folder that contains <dataset_name>/{train,valid,test}
checkpoint_dir: str = "checkpoints"  # folder for weights and training states
output_dir: str = "output"  # folder for histories, metrics, height maps and figures
seed: int = 0  # of crops, their order, augmentation and initial weights
crop_size: int | None = None  # pixels, multiple of 32 (encoder stride); None = 256
batch_size: int | None = None  # crops per replica in stage 1 (MTL); None = 4
dae_batch_size: int | None = None  # crops per replica in stage 2 (DAE); None = batch_size
samples_per_epoch: int | None = None  # random crops; None = as many as a grid over the tiles has
augment: bool | None = None  # random augmentation; False = none of the six below; None = True
flips: bool | None = None  # random flips, left-right and top-bottom; False = off; None = True
turns: bool | None = None  # random quarter turns; False = off; None = True
brightness_jitter: float | None = None  # maximum shift, fraction of the range; 0 = off; None = 0.0
contrast_jitter: float | None = None  # maximum relative change of the contrast; 0 = off; None = 0.0
colour_jitter: float | None = None  # maximum relative change of a band's gain; 0 = off; None = 0.0
scale_jitter: float | None = None  # maximum relative change of the pixel size; 0 = off; None = 0.0
cache: str = "auto"  # decoded training tiles: none, memory, disk, auto = memory if they fit
input_threads: int | None = None  # threads that read and augment crops; None = one per core
bad_tiles: str = "stop"  # unreadable training tiles: stop and name them, or skip them

# Length and optimizer
mtl_epochs: int | None = None  # epochs of stage 1; None = 20
dae_epochs: int | None = None  # epochs of stage 2; None = 20
mtl_steps: int | None = None  # optimizer steps, override mtl_epochs; None = from the epochs
dae_steps: int | None = None  # optimizer steps, override dae_epochs; None = from the epochs
mtl_learning_rate: float | None = None  # of Adam in stage 1; None = 0.0002
dae_learning_rate: float | None = None  # of Adam in stage 2; None = 0.0002
scale_learning_rate: str | None = None  # with the global batch: none, linear, sqrt; None = none
base_batch_size: int | None = None  # global batch for which the rates are meant; None = 4
learning_rate_schedule: str | None = None  # constant, cosine to the minimum, step; None = constant
warmup_epochs: float | None = None  # linear increase of the rate from 0; None = 0.0
min_learning_rate: float | None = None  # lowest rate after the warm-up; None = 0.0
decay_epochs: float | None = None  # of schedule step: between reductions; None = a third of all
decay_factor: float | None = None  # of schedule step: factor at each reduction; None = 0.1
gradient_clip_norm: float | None = None  # maximum gradient norm; 0 = no clipping; None = 0.0
gradient_accumulation_steps: int = 1  # batches that a replica processes per optimizer step
ema_decay: float = 0.0  # moving average of the weights, which is validated and saved; 0 = off
freeze_backbone_epochs: int = 0  # epochs before the encoder is unfrozen stage by stage; 0 = off
backbone_learning_rate_factor: float = 1.0  # multiplier of the encoder's learning rate
eval_metric: str = "rmse"  # selects the best weights: rmse, mae (metres), delta1, miou
early_stopping_patience: int | None = None  # validations without improvement; 0 = off; None = 10
resume: str = "auto"  # auto = continue an unfinished run, never, or the folder of a run to continue
initial_weights: str = "none"  # best.weights.h5 that its stage starts from; none = from nothing
keep_states: int = 2  # newest states that are kept; the older ones stand in for a damaged one
save_minutes: float = 10.0  # minutes between two saved states within an epoch
max_minutes: float = 0.0  # minutes after which training saves its state and stops; 0 = no limit
gradient_spike: float = 0.0  # leave out steps of a norm this many times its median; 0 = off
max_bad_steps: int = 10  # steps left out in a row after which training stops

# Losses
reg_loss: str | None = None  # height loss: mse, mae, huber; None = mse
huber_delta: float = 1.0  # metres from which the Huber loss is linear; only for reg_loss=huber
height_loss_weight: float | None = None  # dimensionless; 0 = off; None = 1.0
semantic_loss_weight: float | None = None  # dimensionless; 0 = off; None = 1.0
normal_loss_weight: float | None = None  # dimensionless; 0 = off; None = 1.0
class_weights: str | None = None  # none, balanced = by rarity in the training pixels; None = none
label_smoothing: float | None = None  # share of a label spread over classes; 0 = off; None = 0.0
deep_supervision: float | None = None  # weight of coarser height outputs; 0 = off; None = 0.0

# Network (None = the published network, unless the data set recommends otherwise)
backbone: str | None = None  # encoder: densenet121, resnet50, tiny (for trials); None = densenet121
backbone_weights: str | None = None  # a file, none, imagenet, auto = that if possible; None = auto
decoder_width: float | None = None  # factor on the filters of the decoders and the DAE; None = 1.0
decoder_norm: str | None = None  # in decoders and DAE: none, batch (normalisation); None = none
decoder_skips: bool | None = None  # skip connections from encoder to decoders; None = False
dropout: float | None = None  # fraction of features dropped in training; 0 = off; None = 0.5
encoder_batch_norm: str | None = None  # train, frozen = use the stored statistics; None = train
batch_norm_momentum: float | None = None  # of moving statistics; 0.9 for short runs; None = 0.99
dae_start: str | None = None  # correction of an untrained DAE: random, zero; None = random
sem_flag: bool | None = None  # decoder for semantic classes; False = off; None = True
norm_flag: bool | None = None  # decoder for surface normals; False = off; None = True
input_normalisation: str | None = None  # zero_to_one = RGB / 255, or imagenet; None = zero_to_one
normal_coding: str | None = None  # unit vectors, or published = Sobel sums in [0, 1]; None = unit
sar_mode: str | None = None  # radar image as a further input: none, fusion; None = none

# Devices
multi_gpu_enabled: bool = True  # False = use only the first of gpu_devices
gpu_devices: str = "auto"  # auto = all GPUs that TensorFlow finds, or indices such as 0,1
cpu_replicas: int = 0  # logical CPU devices, to simulate replicas without GPUs; 0 = off
gradient_reduction: str = "auto"  # auto, nccl, or reduction_to_one_device (as DataParallel does)
gradient_pack_bytes: int = 0  # bytes summed over the replicas at a time; 0 = all in one operation
sync_batch_norm: bool = False  # batch statistics over all replicas; False = per replica
precision: str = "float32"  # of the layers: float32, mixed_float16, mixed_bfloat16, auto
gradient_checkpointing: bool = False  # recompute features instead of storing them

# Inference
correction: str = "auto"  # subtract the DAE's correction: true, false, auto = if the DAE is trained
window_size: int | None = None  # pixels, multiple of 32; None = crop_size
overlap: float | None = None  # fraction of a window that the next one shares; None = 0.33
batch_windows: int = 8  # windows per batch and replica
tta: bool = False  # mean over 8 flips and turns of each window: predict.py and test_dsm.py
match_gsd: bool = False  # predict.py: resample the scene to the gsd of the training data

# Several settings at once
preset: str | None = None  # published = the authors' own settings, or improved; None = off
