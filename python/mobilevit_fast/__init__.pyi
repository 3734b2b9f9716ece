from mobilevit_fast.config import ModelConfig as ModelConfig
from mobilevit_fast.config import get_config as get_config
from mobilevit_fast.config import list_models as list_models
from mobilevit_fast.image import Preprocessing as Preprocessing
from mobilevit_fast.image import load_image as load_image
from mobilevit_fast.image import preprocess as preprocess
from mobilevit_fast.model import create_model as create_model
from mobilevit_fast.model import from_pretrained as from_pretrained
from mobilevit_fast.model import optimize as optimize
from mobilevit_fast.session import Prediction as Prediction
from mobilevit_fast.session import Session as Session
from mobilevit_fast.weights import Checkpoint as Checkpoint
from mobilevit_fast.weights import load_checkpoint as load_checkpoint
from mobilevit_fast.weights import save_checkpoint as save_checkpoint

__version__: str
