"""Settings of one run. Plain values only: importing this file does nothing else.

Each name is also an option of every script: `--crop_size=128` wins over the value here.
None = decided by the data set where it has an opinion, else the value named in the comment.
"""

# Data
dataset_name: str = "Demo"  # a published data set, or a folder below shortcut_path
shortcut_path: str = "data"  # folder that holds <dataset_name>/{train,valid,test}
checkpoint_dir: str = "checkpoints"  # folder for weights and training state
output_dir: str = "output"  # folder for histories, metrics, height maps and figures
seed: int = 0  # decides crops, order, augmentation and first weights
crop_size: int | None = None  # pixels, multiple of 32 (encoder stride); None = 256
batch_size: int | None = None  # crops per replica in stage 1 (MTL); None = 4
dae_batch_size: int | None = None  # crops per replica in stage 2 (DAE); None = batch_size
samples_per_epoch: int | None = None  # crops; None = as many as cover the training tiles once
augment: bool | None = None  # random changes of crops; False = none of the six below; None = True
flips: bool | None = None  # left to right and top to bottom; False = without; None = True
turns: bool | None = None  # quarter turns; False = without; None = True
brightness_jitter: float | None = None  # largest change, share of the range; 0 = off; None = 0.0
contrast_jitter: float | None = None  # largest change, as a share; 0 = off; None = 0.0
colour_jitter: float | None = None  # largest change of a band's gain, share; 0 = off; None = 0.0
scale_jitter: float | None = None  # largest change of the pixel size, share; 0 = off; None = 0.0
cache: str = "auto"  # decoded training tiles: none, memory, disk, auto = memory if they fit
input_threads: int | None = None  # that read and augment; None = one per core
bad_tiles: str = "stop"  # training tiles that cannot be read: stop with their names, or skip them

# Length and optimiser
mtl_epochs: int | None = None  # epochs of stage 1; None = 20
dae_epochs: int | None = None  # epochs of stage 2; None = 20
mtl_steps: int | None = None  # optimizer steps, wins over mtl_epochs; None = by epochs
dae_steps: int | None = None  # optimizer steps, wins over dae_epochs; None = by epochs
mtl_learning_rate: float | None = None  # of Adam; None = 0.0002
dae_learning_rate: float | None = None  # of Adam; None = 0.0002
scale_learning_rate: str | None = None  # by global batch: none, linear, sqrt; None = none
base_batch_size: int | None = None  # global batch that the rates belong to; None = 4
learning_rate_schedule: str | None = None  # constant, cosine to the minimum, step; None = constant
warmup_epochs: float | None = None  # linear rise of the rate from 0 at the start; None = 0.0
min_learning_rate: float | None = None  # lowest after the warm-up; None = 0.0
decay_epochs: float | None = None  # of a step schedule, between falls; None = a third of the run
decay_factor: float | None = None  # of a step schedule, at each fall; None = 0.1
gradient_clip_norm: float | None = None  # largest norm of the gradient; 0 = any; None = 0.0
gradient_accumulation_steps: int = 1  # parts of a replica's batch, each of batch_size crops
ema_decay: float = 0.0  # of a moving average of the weights, which is validated and kept; 0 = off
freeze_backbone_epochs: int = 0  # the encoder rests, then wakes stage by stage; 0 = off
backbone_learning_rate_factor: float = 1.0  # of the encoder's learning rate
eval_metric: str = "rmse"  # picks the best weights: rmse, mae (metres), delta1, miou
early_stopping_patience: int | None = None  # validations without a better one; 0 = off; None = 10
resume: str = "auto"  # auto = continue an unfinished run, never, or the path of a run's folder

# Losses
reg_loss: str | None = None  # of the heights: mse, mae, huber; None = mse
huber_delta: float = 1.0  # metres from which a huber loss is linear; without use otherwise
height_loss_weight: float | None = None  # dimensionless; 0 = off; None = 1.0
semantic_loss_weight: float | None = None  # dimensionless; 0 = off; None = 1.0
normal_loss_weight: float | None = None  # dimensionless; 0 = off; None = 1.0
class_weights: str | None = None  # none, balanced = by rarity in the training pixels; None = none
label_smoothing: float | None = None  # share of a label spread over classes; 0 = off; None = 0.0
deep_supervision: float | None = None  # weight of heights at coarser stages; 0 = off; None = 0.0

# Network (None = the published network, unless the data set recommends otherwise)
backbone: str | None = None  # densenet121, resnet50, tiny (for rehearsals); None = densenet121
backbone_weights: str | None = None  # none, imagenet, auto = that if possible, a file; None = auto
decoder_width: float | None = None  # factor on the decoders' and the DAE's filters; None = 1.0
decoder_norm: str | None = None  # of decoders and DAE: none, or batch normalisation; None = none
decoder_skips: bool | None = None  # the encoder's finer features go to the decoders; None = False
dropout: float | None = None  # share of features dropped in training; 0 = off; None = 0.5
encoder_batch_norm: str | None = None  # train, or frozen = on stored statistics; None = train
batch_norm_momentum: float | None = None  # of moving averages; short runs want 0.9; None = 0.99
dae_start: str | None = None  # of an untrained DAE: random, or zero; None = random
sem_flag: bool | None = None  # decoder for semantic classes; False = without; None = True
norm_flag: bool | None = None  # decoder for surface normals; False = without; None = True
input_normalisation: str | None = None  # zero_to_one = RGB / 255, or imagenet; None = zero_to_one
normal_coding: str | None = None  # unit vectors, or published = Sobel sums in [0, 1]; None = unit
sar_mode: str | None = None  # radar image beside the photo: none, or fusion into it; None = none

# Devices
multi_gpu_enabled: bool = True  # False = the first of gpu_devices only
gpu_devices: str = "auto"  # auto = all that TensorFlow sees, or indices such as 0,1
cpu_replicas: int = 0  # logical CPU replicas, to rehearse without GPUs; 0 = off
gradient_reduction: str = "auto"  # auto, nccl, or reduction_to_one_device (DataParallel's way)
gradient_pack_bytes: int = 0  # bytes summed over the replicas at a time; 0 = all in one operation
sync_batch_norm: bool = False  # batch statistics over all replicas; False = of each replica
precision: str = "float32"  # of the layers: float32, mixed_float16, mixed_bfloat16, auto
gradient_checkpointing: bool = False  # features are computed twice instead of being kept

# Inference
correction: str = "auto"  # subtract the DAE's correction: auto = if it is trained, true, false
window_size: int | None = None  # pixels, multiple of 32; None = crop_size
overlap: float | None = None  # share of a window that the next one repeats; None = 0.33
batch_windows: int = 8  # windows per batch and replica
tta: bool = False  # mean over 8 flips and turns of each window: predict.py and test_dsm.py
match_gsd: bool = False  # predict.py: the scene is resampled to the gsd of the training

# Several settings at once
preset: str | None = None  # published = the authors' own settings, or improved; None = off
